"""The local endpoint template under the real agent: made, started and used by our commands."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import globus_sdk
import pytest
import pytest_asyncio
from globus_compute_sdk import Client
from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

from compute_functions.contract import (
    EngineAnswer,
    EngineRequest,
    InstanceState,
    SiteStatus,
    read_reply,
)
from compute_functions.endpoint import Endpoint
from compute_functions.function_lock import FunctionLock
from compute_functions.site import SiteDirectory
from tests.support.engine_doubles import (
    FRAMEWORK,
    MODEL,
    EngineThatEchoes,
    EngineThatRefuses,
    listening,
    registration,
)
from tests.support.eventually import eventually_so
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running endpoint of the client `local`, made by our commands alone."""

    endpoint: Endpoint
    directory: SiteDirectory
    functions: dict[str, str]

    async def call(self, function_id: str, *arguments: object) -> Any:
        """Run a registered function as the gateway's client and return its result."""
        client = sdk_client()
        batch = client.create_batch(
            result_serializers=["globus_compute_sdk.serialize.JSONData"],
            create_websocket_queue=True,
        )
        batch.add(function_id, arguments)
        reply = await asyncio.to_thread(client.batch_run, self.endpoint.status().id, batch)
        (task_ids,) = reply["tasks"].values()

        async def done() -> bool:
            return not (await asyncio.to_thread(client.get_task, task_ids[0]))["pending"]

        await eventually_so(done, seconds=60, every_s=0.1)
        return await asyncio.to_thread(client.get_result, task_ids[0])


def sdk_client() -> Client:
    return Client(
        do_version_check=False,
        code_serialization_strategy=PureSourceTextInspect(),
        data_serialization_strategy=JSONData(),
    )


async def command(*arguments: str) -> str:
    """Run one of our commands with this process's environment; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    lock = folder / "functions.json"
    where = ("--name", "site", "--user-dir", str(folder / "compute"))
    async with LocalGlobus(folder / "globus") as globus:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GLOBUS_COMPUTE_USER_DIR", str(folder / "client"))
            for name, value in globus.client_environment("local").items():
                patch.setenv(name, value)
            await command("compute_functions.register", "--lock", str(lock))
            await command(
                *("compute_functions.endpoint", "configure", *where),
                *("--site-dir", str(folder / "site"), "--lock", str(lock)),
                *("--email", "operator@example.org", "--heartbeat-period", "5"),
            )
            await command("compute_functions.endpoint", "start", *where)
            try:
                yield Site(
                    endpoint=Endpoint(
                        name="site", user_dir=folder / "compute", environment=dict(os.environ)
                    ),
                    directory=SiteDirectory(folder / "site"),
                    functions={
                        name: locked.id
                        for name, locked in FunctionLock.read(lock).functions.items()
                    },
                )
            finally:
                await command("compute_functions.endpoint", "stop", *where)


async def test_a_client_that_is_refused_is_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "another")
    with pytest.raises(AssertionError) as caught:
        await command("compute_functions.register", "--lock", str(tmp_path / "lock.json"))
    assert "GLOBUS_COMPUTE_CLIENT_ID, GLOBUS_COMPUTE_CLIENT_SECRET" in str(caught.value)
    assert "Traceback" not in str(caught.value)


async def test_a_request_passes_through_the_real_agent(site: Site) -> None:
    request = EngineRequest(
        request_id="r-1",
        framework=FRAMEWORK,
        model=MODEL,
        path="/v1/chat/completions",
        body='{"content": "größe"}'.encode(),
        timeout_s=20,
    )
    async with listening(EngineThatEchoes()) as engine:
        registration(site.directory, engine)
        reply = read_reply(await site.call(site.functions["run_request"], request.to_wire()))

    assert isinstance(reply, EngineAnswer)
    assert json.loads(reply.body)["body"] == '{"content": "größe"}'


async def test_an_engine_s_error_passes_byte_for_byte(site: Site) -> None:
    request = EngineRequest(
        request_id="r-2",
        framework=FRAMEWORK,
        model=MODEL,
        path="/v1/completions",
        body=b"{}",
        timeout_s=20,
    )
    async with listening(EngineThatRefuses(503)) as engine:
        registration(site.directory, engine)
        reply = read_reply(await site.call(site.functions["run_request"], request.to_wire()))

    assert isinstance(reply, EngineAnswer)
    assert (reply.status, reply.body) == (503, EngineThatRefuses.BODY)


async def test_the_status_comes_from_the_site_s_directory(site: Site) -> None:
    registration(site.directory, "/x", state=InstanceState.STARTING)

    reply = read_reply(await site.call(site.functions["site_status"], {"v": 1}))

    assert isinstance(reply, SiteStatus)
    (instance,) = reply.instances
    assert instance.state is InstanceState.STARTING


async def test_no_other_function_runs_here(site: Site) -> None:
    def intruder() -> int:
        return 42

    function_id = await asyncio.to_thread(lambda: sdk_client().register_function(intruder))

    with pytest.raises(globus_sdk.GlobusAPIError, match="not permitted") as refused:
        await site.call(function_id)
    assert refused.value.http_status == 403


async def test_registering_again_changes_nothing(site: Site, tmp_path: Path) -> None:
    lock = site.directory.root.parent / "functions.json"
    before = lock.read_bytes()

    printed = await command("compute_functions.register", "--lock", str(lock))

    assert lock.read_bytes() == before
    assert {str(UUID(line)) for line in printed.split()} == set(site.functions.values())


async def test_the_credential_may_stand_in_files(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--lock", str(tmp_path / "functions.json")]
    for name in ("id", "secret"):
        variable = f"GLOBUS_COMPUTE_CLIENT_{name.upper()}"
        (tmp_path / name).write_text(os.environ[variable] + "\n")
        monkeypatch.delenv(variable)
        options += [f"--client-{name}-file", str(tmp_path / name)]

    printed = await command("compute_functions.register", *options)

    assert len(printed.split()) == len(site.functions)
    assert set(printed.split()).isdisjoint(site.functions.values())


async def test_starting_what_runs_is_no_error(site: Site) -> None:
    before = site.endpoint.status()

    assert await site.endpoint.start() == before
    assert before.running
