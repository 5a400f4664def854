"""Registering the stubs: once for each text, and never more than needed."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from globus_compute_sdk.serialize import ComputeSerializer, JSONData, PureSourceTextInspect

from compute_functions import function_lock, register
from compute_functions.contract import SiteFailure, read_reply
from compute_functions.errors import ConfigurationError
from compute_functions.function_lock import FunctionLock, Stub
from compute_functions.site import VARIABLE
from compute_functions.stubs import STUBS, run_request, site_status

NAMES = [stub.__name__ for stub in STUBS]


class RegistryInMemory:
    """Registers like the service, and counts."""

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}

    def knows(self, function_id: str) -> bool:
        return function_id in self.functions

    def register(self, stub: Stub) -> str:
        function_id = str(uuid4())
        self.functions[function_id] = stub.__name__
        return function_id


def test_every_stub_is_registered_once() -> None:
    registry = RegistryInMemory()

    once = register.register(FunctionLock(), registry, STUBS)
    again = register.register(once, registry, STUBS)

    assert again == once
    assert sorted(registry.functions.values()) == sorted(NAMES)
    assert set(once.allowed(STUBS)) == set(registry.functions)


def test_what_the_service_has_forgotten_is_registered_again() -> None:
    registry = RegistryInMemory()
    first = register.register(FunctionLock(), registry, STUBS)
    del registry.functions[first.functions["run_request"].id]

    second = register.register(first, registry, STUBS)

    assert second.functions["site_status"] == first.functions["site_status"]
    assert second.functions["run_request"] != first.functions["run_request"]
    assert registry.knows(second.functions["run_request"].id)


def test_a_changed_text_is_another_function() -> None:
    def changed(wire: dict[str, object]) -> dict[str, object]:
        return wire

    changed.__name__ = "run_request"
    registry = RegistryInMemory()
    first = register.register(FunctionLock(), registry, STUBS)

    second = register.register(first, registry, [changed])

    assert second.functions["run_request"] != first.functions["run_request"]
    with pytest.raises(ConfigurationError, match="not registered as they are now: run_request"):
        second.allowed(STUBS)


def test_the_lock_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = register.register(FunctionLock(), RegistryInMemory(), STUBS)

    lock.write(tmp_path / "functions.json")

    assert FunctionLock.read(tmp_path / "functions.json") == lock
    written = json.loads((tmp_path / "functions.json").read_text())
    assert set(written["functions"]) == set(NAMES)
    assert set(written["functions"]["run_request"]) == {"id", "sha256"}


def test_without_a_lock_file_nothing_is_registered(tmp_path: Path) -> None:
    lock = FunctionLock.read(tmp_path / "none.json")

    assert lock == FunctionLock()
    with pytest.raises(ConfigurationError, match=f"{', '.join(NAMES)}; run python -m"):
        lock.allowed(STUBS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"functions": {"a": {"id": 1}}}'])
def test_another_file_is_not_taken_for_a_lock(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)

    with pytest.raises(ConfigurationError, match="is not a lock of functions"):
        FunctionLock.read(tmp_path / "lock.json")


def test_allowed_functions_are_printed_without_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = register.register(FunctionLock(), RegistryInMemory(), STUBS)
    lock.write(tmp_path / "lock.json")

    assert register.main(["--lock", str(tmp_path / "lock.json"), "--print-allowed"]) == 0
    assert capsys.readouterr().out.split() == lock.allowed(STUBS)


def test_a_lock_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "away" / "lock.json"

    assert register.main(["--lock", str(away), "--print-allowed"]) == 1
    assert f"{away}: there is no such file; python -m" in capsys.readouterr().err
    assert register.main(["--lock", str(away)]) == 1
    assert f"{away.parent}: there is no such folder" in capsys.readouterr().err


def test_nobody_is_asked_to_log_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLOBUS_COMPUTE_CLIENT_ID", raising=False)
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "")

    assert register.main(["--lock", str(tmp_path / "lock.json")]) == 1
    said = capsys.readouterr()
    assert said.err == (
        "ConfigurationError: GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET must be "
        "set: the Globus client of this cluster, which is also the gateway's for it; or give "
        "--client-id-file and --client-secret-file\n"
    )


def test_half_a_credential_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--lock", str(tmp_path / "l.json"), "--client-id-file", str(tmp_path / "id")]

    assert register.main(arguments) == 1
    assert "give both" in capsys.readouterr().err


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.__name__)
def test_a_stub_runs_from_its_text_alone(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    serializer = ComputeSerializer(strategy_code=PureSourceTextInspect(), strategy_data=JSONData())

    rebuilt = serializer.deserialize(serializer.serialize(stub))

    assert isinstance(read_reply(rebuilt({"v": 2})), SiteFailure)


def test_the_digest_is_that_of_the_text_that_is_sent() -> None:
    sent = PureSourceTextInspect().serialize(run_request)

    assert "from compute_functions.run_request import" in sent
    assert function_lock.digest(run_request) != function_lock.digest(site_status)
