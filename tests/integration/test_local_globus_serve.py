"""`python -m local_globus` as an operator runs it, and with a broker that is not its own."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import globus_sdk
import requests

from local_globus.broker import EVERYTHING, Broker, Permissions
from tests.support.compute_person import COMPUTE, Person, in_thread
from tests.support.eventually import eventually_so
from tests.support.local_globus import LocalGlobus


async def local_globus(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local_globus",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def output_of(*arguments: str) -> tuple[int | None, str, str]:
    process = await local_globus(*arguments)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def serving(state: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """Serve until the end of the block; yields what `ready.json` says."""
    process = await local_globus("serve", "--state", str(state), *arguments)
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        ready = json.loads((state / "ready.json").read_text())
        assert line == f"local Globus ready at {ready['url']}\n"
        assert ready["pid"] == process.pid
        yield ready
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    assert not (state / "ready.json").exists()


async def get(url: str) -> requests.Response:
    return await asyncio.to_thread(requests.get, url, timeout=10)


async def test_serve_and_env(tmp_path: Path) -> None:
    async with serving(tmp_path) as ready:
        status, output, _ = await output_of("env", "--state", str(tmp_path))
        assert status == 0
        assert f"export GLOBUS_SDK_SERVICE_URL_AUTH={ready['url']}/auth/\n" in output
        assert f"export http_proxy={ready['url']}\n" in output
        assert "export no_proxy=127.0.0.1\n" in output
        assert (await get(f"{ready['url']}/v2/version")).status_code == 200
        assert (await get(f"{ready['url']}/_local/counters")).status_code == 404
        assert "@" not in ready["amqp_url"]

        status, _, errors = await output_of("serve", "--state", str(tmp_path))
        assert status == 1
        assert "Another local Globus runs" in errors
        assert (await get(f"{ready['url']}/v2/version")).status_code == 200

    status, _, errors = await output_of("env", "--state", str(tmp_path))
    assert status == 1
    assert "No local Globus runs" in errors


async def test_a_killed_server_comes_back_where_it_was(tmp_path: Path) -> None:
    process = await local_globus("serve", "--state", str(tmp_path))
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 60)
    before = json.loads((tmp_path / "ready.json").read_text())
    process.kill()
    await asyncio.wait_for(process.communicate(), 30)

    async with serving(tmp_path) as after:
        assert (after["url"], after["amqp_url"]) == (before["url"], before["amqp_url"])
        assert after["pid"] != before["pid"]


async def test_ports_and_switches_are_as_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with serving(tmp_path, "--port", str(port), "--test-controls") as ready:
        assert ready["url"] == f"http://127.0.0.1:{port}"
        assert (await get(f"{ready['url']}/_local/counters")).json() == {}


async def test_a_seed_that_lacks_something(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("people: []\n")
    status, _, errors = await output_of("serve", "--state", str(tmp_path), "--seed", str(seed))

    assert status == 1
    assert errors == "The seed file lacks or misnames 'identity_providers'\n"


async def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"amqp://globus:right@127.0.0.1:{free.getsockname()[1]}/%2F"
    status, _, errors = await output_of("serve", "--state", str(tmp_path), "--amqp-url", url)

    assert status == 1
    assert errors.endswith("The broker cannot be reached\n")


class OneUser:
    """The accounts of a broker as RabbitMQ would be set up: one user who may do everything."""

    def permissions(self, user: str, password: str) -> Permissions | None:
        return EVERYTHING if (user, password) == ("globus", "right") else None


class SiteBroker:
    """A broker that the local Globus does not run itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._port = 0

    @property
    def url(self) -> str:
        return f"amqp://globus:right@127.0.0.1:{self._port}/%2F"

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._broker = await Broker(self._path, OneUser(), listener).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._broker.__aexit__()


async def test_a_task_goes_through_a_broker_of_the_site(tmp_path: Path) -> None:
    async with (
        SiteBroker(tmp_path / "broker.sqlite3") as broker,
        LocalGlobus(tmp_path / "globus", amqp_url=broker.url) as globus,
    ):
        owner = Person(globus, await globus.client_token("local", COMPUTE))

        def work() -> str:
            with owner.agent() as agent:
                submitted = owner.submit(agent.id, owner.register())
                worker = agent.start_worker()
                worker.finish(worker.next_task()[1].task_id, "11\n1")
                with owner.results(submitted) as results:
                    results.next()
                return str(owner.task(submitted)["result"])

        assert await in_thread(work) == "11\n1"
        assert "right" not in globus.broker_address


async def test_without_its_broker_the_service_says_so_and_recovers(tmp_path: Path) -> None:
    broker = SiteBroker(tmp_path / "broker.sqlite3")
    await broker.__aenter__()
    async with LocalGlobus(tmp_path / "globus", amqp_url=broker.url) as globus:
        owner = Person(globus, await globus.client_token("local", COMPUTE))
        agent = await in_thread(owner.agent)
        function_id = await in_thread(owner.register)
        await in_thread(agent.close)
        await broker.__aexit__()

        statuses = []

        def submit() -> int:
            try:
                owner.submit(agent.id, function_id)
            except globus_sdk.GlobusAPIError as error:
                statuses.append(error.http_status)
            else:
                statuses.append(200)
            return statuses[-1]

        assert await in_thread(submit) == 503
        await broker.__aenter__()
        await until(lambda: submit() != 503)
    await broker.__aexit__()
    assert statuses[-1] == 200


async def until(happened: Callable[[], bool]) -> None:
    """Ask a server, with blocking code, until it says so."""
    await eventually_so(lambda: in_thread(happened), every_s=0.1)


async def test_without_its_broker_the_service_takes_no_endpoint_for_silent(tmp_path: Path) -> None:
    broker = SiteBroker(tmp_path / "broker.sqlite3")
    await broker.__aenter__()
    async with LocalGlobus(tmp_path / "globus", amqp_url=broker.url) as globus:
        owner = Person(globus, await globus.client_token("local", COMPUTE))
        function_id = await in_thread(owner.register)
        agent = await in_thread(owner.agent)

        def online() -> bool:
            said = owner.v2(lambda c: c.get_endpoint_status(agent.id))
            return bool(said["status"] == "online")

        def taken() -> bool:
            try:
                owner.submit(agent.id, function_id)
            except globus_sdk.GlobusAPIError as error:
                if error.http_status != 503:
                    raise
                return False
            return True

        await in_thread(lambda: agent.beat(30.0))
        await until(online)
        await in_thread(agent.close)
        await broker.__aexit__()
        await until(lambda: not taken())
        await globus.advance_clock(1000)
        assert await in_thread(online)

        await broker.__aenter__()
        await until(taken)
        assert await in_thread(online)
        await globus.advance_clock(1000)
        assert not await in_thread(online)
    await broker.__aexit__()
