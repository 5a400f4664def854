"""The endpoint command's own decisions: status, stale process files, the lock that it needs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute_functions import endpoint as endpoint_module
from compute_functions import processes
from compute_functions.endpoint import Endpoint
from compute_functions.errors import ConfigurationError, EndpointFailed
from tests.support.eventually import eventually
from tests.support.hanging_program import HangingProgram, hanging_program

CLIENT = {"GLOBUS_COMPUTE_CLIENT_ID": "id", "GLOBUS_COMPUTE_CLIENT_SECRET": "secret"}
DEAD_PID = 2**22 + 1
"""Above the kernel's largest process number."""


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    folder = tmp_path / "compute" / "site"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("heartbeat_period: 5\n")
    # An unknown environment ends the agent before it says anything to anybody.
    environment = {"PATH": os.environ["PATH"], "GLOBUS_SDK_ENVIRONMENT": "nowhere"} | CLIENT
    return Endpoint(name="site", user_dir=tmp_path / "compute", environment=environment)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a test puts a program in the agent's place."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    return tmp_path / "bin" / "globus-compute-endpoint"


@pytest.fixture
def hanging(agent: Path) -> Iterator[HangingProgram]:
    with hanging_program(agent) as program:
        yield program


def test_an_endpoint_that_was_never_started_has_no_id(endpoint: Endpoint) -> None:
    assert endpoint.status() == endpoint_module.Status(name="site", id="", running=False)


@pytest.mark.parametrize("text", ["", '{"endpoint_id'])
def test_an_id_that_is_only_half_written_is_none_yet(endpoint: Endpoint, text: str) -> None:
    (endpoint.folder / "endpoint.json").write_text(text)
    assert endpoint.status().id == ""


@pytest.mark.parametrize(
    ("pid", "running"), [(os.getpid(), True), (DEAD_PID, False)], ids=["alive", "dead"]
)
def test_it_runs_if_its_process_lives(endpoint: Endpoint, pid: int, *, running: bool) -> None:
    (endpoint.folder / "daemon.pid").write_text(f"{pid}\n")
    (endpoint.folder / "endpoint.json").write_text('{"endpoint_id": "the-id"}')

    status = endpoint.status()

    assert (status.running, status.id) == (running, "the-id")


def test_a_process_number_that_nobody_renews_is_another_s_by_now(endpoint: Endpoint) -> None:
    (endpoint.folder / "daemon.pid").write_text(f"{os.getpid()}\n")
    long_ago = time.time() - endpoint_module.FRESH_S - 1
    os.utime(endpoint.folder / "daemon.pid", (long_ago, long_ago))

    assert not endpoint.status().running


@pytest.mark.parametrize(
    ("host", "stays"), [(socket.gethostname(), False), ("another-login-node", True)]
)
async def test_only_a_dead_agent_of_this_host_is_cleared_away(
    endpoint: Endpoint, host: str, *, stays: bool
) -> None:
    (endpoint.folder / "daemon.pid").write_text(f"{DEAD_PID}\n")
    (endpoint.folder / "hotnode.host").write_text(host)

    with pytest.raises(EndpointFailed, match="globus-compute-endpoint start failed"):
        await endpoint.start()

    assert (endpoint.folder / "daemon.pid").exists() == stays
    assert (endpoint.folder / "hotnode.host").read_text() == host


def test_configuring_without_registered_functions_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["configure", "--name", "site", "--user-dir", str(tmp_path)]
    arguments += ["--site-dir", str(tmp_path), "--lock", str(tmp_path / "none.json")]

    assert endpoint_module.main(arguments) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path}/none.json: there is no such file; "
        f"python -m compute_functions.register --lock {tmp_path}/none.json writes it\n"
    )


async def test_it_starts_as_a_client_and_asks_nobody_to_log_in(endpoint: Endpoint) -> None:
    nobody = dataclasses.replace(endpoint, environment={"PATH": os.environ["PATH"]})

    with pytest.raises(ConfigurationError, match="CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET must"):
        await nobody.start()


def test_the_status_is_printed_as_json(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        endpoint_module.main(["status", "--name", "site", "--user-dir", str(endpoint.user_dir)])
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"name": "site", "id": "", "running": False}


async def test_an_agent_that_hangs_is_given_up_in_time_and_ended(
    endpoint: Endpoint, hanging: HangingProgram
) -> None:
    impatient = dataclasses.replace(endpoint, start_timeout_s=0.5)

    async with asyncio.timeout(30):
        with pytest.raises(EndpointFailed, match=r"start hung for 0\.5 s"):
            await impatient.start()

    await eventually(lambda: hanging.is_gone)


async def test_who_is_cancelled_leaves_no_agent_behind_that_hangs(
    endpoint: Endpoint, hanging: HangingProgram
) -> None:
    starting = asyncio.create_task(endpoint.start())
    await eventually(lambda: hanging.hangs)

    starting.cancel()
    await asyncio.wait({starting}, timeout=30)

    assert starting.cancelled()
    await eventually(lambda: hanging.is_gone)


async def test_an_agent_that_has_detached_stays(endpoint: Endpoint, agent: Path) -> None:
    script = (
        f"cd {endpoint.folder}; exec >&- 2>&-; CHILD; cp {agent}.child daemon.pid; "
        """echo '{"endpoint_id": "the-id"}' > endpoint.json"""
    )
    with hanging_program(agent, script=script) as program:
        assert (await endpoint.start()).running
        assert processes.started(program.child) is not None
