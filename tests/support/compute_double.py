"""The Compute web service with faults on order: a real HTTP server and a real broker behind it.

Where the local Globus behaves, this one answers each submission as its script says, so that every
way in which a submission can fail is met on the wire.
"""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pika
from aiohttp import web
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Result

from local_globus.broker import EVERYTHING, Broker, Permissions
from resource_server.adapters.globus_compute import ServiceAddresses
from resource_server.adapters.globus_compute.channel import Finished, TaskChannel
from resource_server.adapters.globus_compute.payload import Payload
from resource_server.domain.catalog import Cluster, GlobusComputeTarget, Transport

ENDPOINT = "0e000000-0000-4000-8000-000000000001"
OTHER_ENDPOINT = "0e000000-0000-4000-8000-000000000002"
FUNCTION = "f0000000-0000-4000-8000-000000000001"
STATUS_FUNCTION = "f0000000-0000-4000-8000-000000000002"
FIRST_GROUP = "00000000-0000-0000-0000-000000000001"

Behaviour = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


def refuse(status: int, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with an error."""
    body = {"status": "Failed", "code": status, "reason": "as the test wants"}
    return lambda _: web.json_response(body, status=status, headers=headers)


def break_connection(request: web.Request) -> web.StreamResponse:
    """Hang up after the whole submission has arrived."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def hang(released: asyncio.Event) -> Behaviour:
    """Answer nothing until told, and then that something is wrong."""

    async def wait(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({}, status=500)

    return wait


def mumble(_: web.Request) -> web.StreamResponse:
    """Answer with something that is no receipt."""
    return web.json_response({"tasks": "some"})


class ComputeDouble:
    """An async context manager. `script` holds how the next submissions fare, in order.

    A submission for which nothing is scripted is accepted; `tasks` are the arguments of accepted
    tasks by id.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = AsyncExitStack()
        self._http = AsyncExitStack()
        self._changed = asyncio.Event()
        self._amqp_port = 0
        self._http_port = 0
        self.script: deque[Behaviour] = deque()
        self.submissions: list[dict[str, Any]] = []
        self.tasks: dict[str, Any] = {}
        self.groups = 0
        self.records: dict[str, dict[str, Any]] = {}
        self.endpoint_state = "online"
        self._refusals: dict[str, deque[int]] = {}
        #: Calls of these kinds get a reply that says nothing.
        self.empty: set[str] = set()
        #: What was called, in order: token, submit, status, queue, records.
        self.calls: list[str] = []

    async def __aenter__(self) -> Self:
        credentials = self._folder / "local.json"
        credentials.write_text('{"client_id": "id", "client_secret": "secret"}')
        credentials.chmod(0o600)
        await self.start_broker()
        await self.start_http()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_http()
        await self.stop_broker()

    async def start_http(self) -> None:
        """Listen for HTTP, on the same port each time."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/auth/v2/oauth2/token", self._token)
        application.router.add_post("/v3/endpoints/{endpoint}/submit", self._submit)
        application.router.add_get("/v2/endpoints/{endpoint}/status", self._status)
        application.router.add_get("/v2/get_amqp_result_connection_url", self._queue)
        application.router.add_post("/v2/batch_status", self._records)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        self._http.push_async_callback(runner.cleanup)
        listener = socket.create_server(("127.0.0.1", self._http_port))
        self._http_port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()

    async def stop_http(self) -> None:
        """Refuse connections."""
        await self._http.aclose()

    async def start_broker(self) -> None:
        """Listen for AMQP, on the same port each time; durable messages are still there."""
        listener = socket.create_server(("127.0.0.1", self._amqp_port))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._amqp_port = listener.getsockname()[1]
        path = self._folder / "broker.sqlite3"
        await self._broker.enter_async_context(Broker(path, _Everybody(), listener))

    async def stop_broker(self) -> None:
        """End every AMQP connection and accept no new one."""
        await self._broker.aclose()

    @property
    def clients(self) -> Path:
        """The directory with the file of the client `local`."""
        return self._folder

    @property
    def addresses(self) -> ServiceAddresses:
        """Where the service is."""
        url = f"http://127.0.0.1:{self._http_port}"
        return ServiceAddresses(auth=f"{url}/auth", compute=url)

    def cluster(self, endpoint_id: str = ENDPOINT, **target: Any) -> Cluster:
        """Return a cluster of the client `local`; `target` replaces parts of its target."""
        values: dict[str, Any] = {
            "client": "local",
            "endpoint_id": endpoint_id,
            "functions": {"run_request": FUNCTION, "site_status": STATUS_FUNCTION},
        }
        return Cluster(
            name="polaris",
            description="",
            frameworks={},
            transports=(Transport.TASK,),
            globus_compute=GlobusComputeTarget(**(values | target)),
            request_timeout_s=60,
        )

    def fail(self, call: str, *statuses: int) -> None:
        """Have the next calls of one kind fail, `submit` excepted."""
        self._refusals[call] = deque(statuses)

    async def submitted(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many submissions have arrived, accepted or not, and return them."""
        await self._until(lambda: len(self.submissions) >= count)
        return self.submissions

    async def accepted(self, count: int) -> dict[str, Any]:
        """Wait until so many tasks were accepted, and return their arguments by id."""
        await self._until(lambda: len(self.tasks) >= count)
        return self.tasks

    async def answer(self, count: int) -> None:
        """Wait until so many tasks were accepted, and return to each its own argument."""
        for task_id, argument in (await self.accepted(count)).items():
            await self.finish(task_id, argument)

    async def _until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    async def finish(self, task_id: str, value: object, *, group: str = FIRST_GROUP) -> None:
        """Send a task's return value to the queue of its group."""
        result = Result(task_id=task_id, data="11\n" + json.dumps(value))
        await self.send(messagepack.pack(result), group=group)

    async def send(self, body: bytes, *, group: str = FIRST_GROUP) -> None:
        """Put a message into the queue of a group."""
        await asyncio.to_thread(self._publish, f"double.{group}", body)

    def _publish(self, queue: str, body: bytes | None = None) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.amqp_url))
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        if body is not None:
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
        connection.close()

    @property
    def amqp_url(self) -> str:
        """Where the broker is."""
        return f"amqp://user:password@127.0.0.1:{self._amqp_port}/%2F"

    async def _token(self, _: web.Request) -> web.Response:
        token = {
            "access_token": f"token-{len(self.calls)}",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all",
            "resource_server": "funcx_service",
        }
        return self._reply("token", token | {"other_tokens": []})

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append("submit")
        self.submissions.append(body | {"endpoint": request.match_info["endpoint"]})
        self._changed.set()
        if self.script:
            answer = self.script.popleft()(request)
            return await answer if isinstance(answer, Awaitable) else answer
        group = body.get("task_group_id")
        if group is None:
            self.groups += 1
            group = f"{uuid.UUID(int=self.groups)}"
            await asyncio.to_thread(self._publish, f"double.{group}")
        ids = {name: [str(uuid.uuid4()) for _ in sent] for name, sent in body["tasks"].items()}
        for name, sent in body["tasks"].items():
            self.tasks |= dict(zip(ids[name], map(_argument, sent), strict=True))
        self._changed.set()
        return web.json_response(
            {"request_id": str(uuid.uuid4()), "task_group_id": group, "tasks": ids}
        )

    async def _status(self, _: web.Request) -> web.Response:
        return self._reply("status", {"status": self.endpoint_state, "details": {}})

    async def _queue(self, _: web.Request) -> web.Response:
        address = {"queue_prefix": "double.", "connection_url": self.amqp_url}
        return self._reply("queue", address)

    async def _records(self, request: web.Request) -> web.Response:
        asked = (await request.json())["task_ids"]
        known = {task_id: self.records.get(task_id, {"status": "pending"}) for task_id in asked}
        return self._reply("records", {"response": "batch", "results": known})

    def _reply(self, call: str, value: object) -> web.Response:
        self.calls.append(call)
        refusals = self._refusals.get(call)
        status = refusals.popleft() if refusals else 200
        said = {} if call in self.empty else value
        return web.json_response(said if status == 200 else {"error": "no"}, status=status)


def call(
    channel: TaskChannel,
    cluster: Cluster,
    argument: dict[str, Any] | None = None,
    *,
    seconds: float = 30.0,
    size: int = 100,
) -> Coroutine[Any, Any, Finished]:
    """Call `run_request` through a channel, with an argument of a claimed size."""
    deadline = asyncio.get_running_loop().time() + seconds
    payload = Payload(argument=argument or {"n": 0}, size=size)
    return channel.call(cluster, "run_request", payload, deadline=deadline)


class _Everybody:
    def permissions(self, user: str, password: str) -> Permissions | None:
        return EVERYTHING


def _argument(payload: str) -> Any:
    """Return the first positional argument in a packed payload."""
    length, _, rest = payload.partition("\n")
    return json.loads(rest[: int(length)].partition("\n")[2])[0]
