"""The unmodified SDK and endpoint agent against the local Globus, also across restarts.

Once with the broker that the local Globus brings, once with RabbitMQ.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pika
import pytest
import pytest_asyncio
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Result
from globus_compute_sdk import Client
from globus_compute_sdk.errors import TaskExecutionFailed
from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

from lab.system.rabbitmq import Rabbitmq, rabbitmq
from tests.support.eventually import eventually, eventually_so
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

_BIN = Path(sys.executable).parent
_CORE = "heartbeat_period: 5\nemail: operator@example.org\n"
_TEMPLATE = """\
heartbeat_period: 5
idle_heartbeats_soft: 0
engine:
  type: ThreadPoolEngine
  max_workers: {{ workers }}
  allowed_serializers:
    - globus_compute_sdk.serialize.PureSourceTextInspect
    - globus_compute_sdk.serialize.JSONData
"""
_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"workers": {"type": "integer"}},
    "additionalProperties": False,
}


def add(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b}


def fail(message: str) -> None:
    raise ValueError(message)


def wait_for_file(path: str, started: str) -> str:
    import pathlib
    import time

    pathlib.Path(started).touch()
    end = time.monotonic() + 60
    while not pathlib.Path(path).exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.05)
    return "seen"


class Site:
    """A local Globus with one agent, which the client `local` owns."""

    def __init__(self, folder: Path, broker: Rabbitmq | None) -> None:
        self.folder = folder
        self.broker = broker
        self.globus = LocalGlobus(
            folder / "globus", amqp_url=None if broker is None else broker.url
        )

    @property
    def kept_environment(self) -> dict[str, str]:
        """What the agent and the processes that it starts need: its folder, and itself."""
        path = f"{_BIN}:{os.environ['PATH']}"
        return {"GLOBUS_COMPUTE_USER_DIR": str(self.folder / "compute"), "PATH": path}

    async def agent(self, *arguments: str) -> None:
        """Run the agent's command line to its end."""
        changes = self.kept_environment
        with (self.folder / "agent.log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                _BIN / "globus-compute-endpoint",
                *arguments,
                env={**os.environ, **self.globus.client_environment("local"), **changes},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            status = await asyncio.wait_for(process.wait(), 90)
        assert status == 0, (self.folder / "agent.log").read_text()

    async def configure(self) -> None:
        """Write the agent's configuration, and the files that it is made of."""
        files = {
            "core-config": self.folder / "core.yaml",
            "template-config": self.folder / "template.yaml.j2",
            "schema-config": self.folder / "schema.json",
        }
        texts = [_CORE, _TEMPLATE, json.dumps(_SCHEMA)]
        for file, text in zip(files.values(), texts, strict=True):
            file.write_text(text)
        options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
        await self.agent("configure", "site", "--multi-user", "false", *options)
        # A privileged agent clears the environment of the processes that it starts.
        kept = json.dumps(self.kept_environment)
        (self.folder / "compute/site/user_environment.yaml").write_text(kept)

    @property
    def endpoint_id(self) -> str:
        """The id under which the agent registered."""
        return str(json.loads(self._registration.read_text())["endpoint_id"])

    @property
    def _registration(self) -> Path:
        return self.folder / "compute/site/endpoint.json"

    async def start(self) -> None:
        """Start the agent and wait until it has registered, for which the command does not."""
        await self.agent("start", "site", "--detach")
        await eventually(self._registration.exists, seconds=60)

    async def status(self) -> Any:
        """Return what the web service says of the endpoint."""
        return await asyncio.to_thread(sdk_client().get_endpoint_status, self.endpoint_id)

    async def submit(self, function: Callable[..., Any], *arguments: object) -> Submitted:
        """Register a function and submit one task with the SDK."""

        def call() -> Submitted:
            client = sdk_client()
            batch = client.create_batch(
                user_endpoint_config={"workers": 2},
                result_serializers=["globus_compute_sdk.serialize.JSONData"],
                create_websocket_queue=True,
            )
            batch.add(client.register_function(function), arguments)
            reply = client.batch_run(self.endpoint_id, batch)
            (task_ids,) = reply["tasks"].values()
            return Submitted(client, reply["task_group_id"], task_ids[0])

        return await asyncio.to_thread(call)


class Submitted:
    """A task, and two ways to learn what came of it."""

    def __init__(self, client: Client, group_id: str, task_id: str) -> None:
        self._client = client
        self._group_id = group_id
        self.task_id = task_id

    async def result_message(self) -> Result:
        """Wait for the message with the result on the task group's queue."""
        return await asyncio.wait_for(asyncio.to_thread(self._consume), 60)

    def _consume(self) -> Result:
        where = self._client.get_result_amqp_url()
        connection = pika.BlockingConnection(pika.URLParameters(where["connection_url"]))
        channel = connection.channel()
        queue = where["queue_prefix"] + self._group_id
        try:
            for method, _, body in channel.consume(queue, inactivity_timeout=50):
                assert method is not None, "no result in time"
                channel.basic_ack(method.delivery_tag)
                message = messagepack.unpack(body)
                assert isinstance(message, Result)
                return message
        finally:
            connection.close()
        raise AssertionError("the queue was deleted")

    def pending(self) -> bool:
        """Say whether the web service still waits for the result."""
        return bool(self._client.get_task(self.task_id)["pending"])

    async def polled_result(self) -> Any:
        """Ask the web service for the result, which must be there."""
        return await asyncio.to_thread(self._client.get_result, self.task_id)


def sdk_client() -> Client:
    """Return an SDK client with the serializers that the site allows."""
    return Client(
        do_version_check=False,
        code_serialization_strategy=PureSourceTextInspect(),
        data_serialization_strategy=JSONData(),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["own broker", "RabbitMQ"])
async def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rabbitmq | None]:
    if request.param == "own broker":
        yield None
        return
    async with rabbitmq(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, broker: Rabbitmq | None
) -> AsyncIterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), broker)
    async with site.globus:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GLOBUS_COMPUTE_USER_DIR", str(site.folder / "client"))
            for name, value in site.globus.client_environment("local").items():
                patch.setenv(name, value)
            await site.configure()
            await site.start()
            try:
                yield site
            finally:
                await site.agent("stop", "site")


async def test_a_task_runs_and_its_result_comes_both_ways(site: Site) -> None:
    task = await site.submit(add, 20, 22)

    message = await task.result_message()

    assert str(message.task_id) == task.task_id
    assert message.error_details is None
    assert message.data == '11\n{"sum": 42}'
    assert await task.polled_result() == {"sum": 42}


async def test_an_exception_of_the_function_comes_back(site: Site) -> None:
    task = await site.submit(fail, "out of luck")

    message = await task.result_message()

    assert message.error_details is not None
    with pytest.raises(TaskExecutionFailed, match="ValueError: out of luck"):
        await task.polled_result()


async def test_the_endpoint_reports_that_it_is_online(site: Site) -> None:
    task = await site.submit(add, 1, 1)
    await task.result_message()

    # A heartbeat may take longer than a result, above all after a restart.
    async def heard() -> bool:
        return "engine_type" in (await site.status())["details"]

    await eventually_so(heard, seconds=60, every_s=0.1)
    status = await site.status()
    assert status["status"] == "online"
    assert status["details"]["engine_type"] == "ThreadPoolEngine"


async def test_a_result_survives_a_restart_of_the_service(site: Site, tmp_path: Path) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"
    task = await site.submit(wait_for_file, str(gate), str(started))
    await asyncio.to_thread(wait_for_file, str(started), str(tmp_path / "waiting"))
    where = (site.globus.url, site.globus.broker_address)

    await site.globus.stop()
    gate.touch()
    await site.globus.start()

    assert (site.globus.url, site.globus.broker_address) == where
    message = await task.result_message()
    assert message.data == '11\n"seen"'
    assert await task.polled_result() == "seen"


@pytest.mark.parametrize("broker", ["RabbitMQ"], indirect=True)
async def test_a_result_survives_a_restart_of_the_broker(site: Site, tmp_path: Path) -> None:
    assert site.broker is not None
    gate, started = tmp_path / "gate", tmp_path / "started"
    task = await site.submit(wait_for_file, str(gate), str(started))
    await asyncio.to_thread(wait_for_file, str(started), str(tmp_path / "waiting"))

    await site.broker.stop()
    gate.touch()
    await site.broker.start()

    message = await task.result_message()
    assert message.data == '11\n"seen"'
    assert await task.polled_result() == "seen"


@pytest.mark.parametrize("broker", ["RabbitMQ"], indirect=True)
async def test_a_result_waits_in_a_broker_that_restarts(site: Site) -> None:
    assert site.broker is not None
    task = await site.submit(add, 1, 2)

    async def done() -> bool:
        return not await asyncio.to_thread(task.pending)

    await eventually_so(done, seconds=60, every_s=0.1)

    await site.broker.stop()
    await site.broker.start()

    message = await task.result_message()
    assert message.data == '11\n{"sum": 3}'
