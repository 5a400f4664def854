"""Which answers of Globus Compute mean that there is no task: after any other there may be one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from compute_functions.drivers.globus_tasks import GlobusTasks
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.function_lock import FunctionLock, Locked
from compute_functions.globus_client import GlobusClient
from compute_functions.site_config.keeper_settings import KeeperSettings

SUBMIT = re.compile(r".*/v3/endpoints/[^/]+/submit")
ID = "11111111-1111-4111-8111-111111111111"
_TOKEN = {
    "access_token": "a",
    "expires_in": 3600,
    "resource_server": "funcx_service",
    "scope": "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all",
    "token_type": "Bearer",
    "other_tokens": [],
}


@pytest.fixture
def service() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as service:
        token = re.compile(r"https://auth\.globus\.org/.*token")
        service.post(token, json=_TOKEN)
        version = {"api": "1.0", "min_ep_version": "1.0", "min_sdk_version": "1.0"}
        service.get(re.compile(r".*/v2/version.*"), json=version)
        yield service


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "functions.json"
    FunctionLock(functions={"keep_instance": Locked(id=ID, sha256="0" * 64)}).write(file)
    return file


def tasks(lock: Path) -> GlobusTasks:
    return GlobusTasks(KeeperSettings(endpoint=ID, functions=lock), GlobusClient(id=ID, secret="s"))


async def failed(lock: Path) -> DriverFailed:
    """Return what a submission fails with."""
    with pytest.raises(DriverFailed) as caught:
        await tasks(lock).submit({"instance": "m-1"}, {"role": "blocks"})
    return caught.value


async def test_a_task_that_is_taken_has_an_id(service: responses.RequestsMock, lock: Path) -> None:
    reply = {"task_group_id": ID, "request_id": ID, "endpoint_id": ID, "tasks": {ID: ["task-1"]}}
    service.post(SUBMIT, json=reply)

    assert await tasks(lock).submit({"instance": "m-1"}, {}) == "task-1"


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        *((status, True) for status in (400, 401, 403, 404, 413, 422)),
        *((status, False) for status in (408, 409, 505)),
    ],
)
async def test_what_the_service_did_not_take_is_no_task(
    service: responses.RequestsMock, lock: Path, status: int, is_refused: bool
) -> None:
    service.post(SUBMIT, json={"code": "NO", "reason": "no"}, status=status)

    assert isinstance(await failed(lock), SubmissionRefused) == is_refused


@pytest.mark.parametrize("text", ["", '{"functions": {}}', None])
async def test_without_the_function_the_service_is_not_asked(
    service: responses.RequestsMock, tmp_path: Path, text: str | None
) -> None:
    asked = service.post(SUBMIT, json={})
    lock = tmp_path / "functions.json"
    if text is not None:
        lock.write_text(text)

    assert isinstance(await failed(lock), SubmissionRefused)
    assert asked.call_count == 0
