"""What web processes may rely on: the hub's answers and errors, and honest ones without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from compute_functions.contract import FOR_BATCHES, Instance, InstanceState
from resource_server.adapters.hub import HubBackend, HubConnection, HubServer, HubSites, messages
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import (
    Hops,
    InferenceAnswer,
    InferenceRequest,
    Late,
    Stopped,
)
from resource_server.domain.lifecycle import Observation
from resource_server.ports import InferenceBackend
from tests.support.catalogs import cluster
from tests.support.doubles import BackendThatEchoes, BackendWithoutStreams
from tests.support.gateway import SiteThatReports
from tests.support.stream_server import stream_server_on_socket

CLUSTER = cluster()


def asking(body: bytes = b"{}", *, timeout_s: float = 30.0) -> InferenceRequest:
    return InferenceRequest(
        request_id="r",
        framework="vllm",
        model="m",
        path="/v1/completions",
        body=body,
        timeout_s=timeout_s,
        headers={"x-request-id": "r"},
    )


def answer(body: bytes = b"late") -> InferenceAnswer:
    return InferenceAnswer(
        status=200,
        body=body,
        content_type="application/json",
        transport="task",
        hops=Hops(engine_s=1.0),
        headers={"retry-after": "3"},
        task_id="t",
    )


class BackendThatHolds(BackendWithoutStreams):
    """Has `sent` a request or not, and answers none before the test does.

    It keeps the port's promise to callers who leave.
    """

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent
        self.asked = asyncio.Event()
        self.deserted = asyncio.Event()
        self._late: Late | None = None

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._late = late
            self.deserted.set()
            if not self.sent and late is not None:
                late(None)
            raise
        raise AssertionError

    def finish(self, came: InferenceAnswer | Stopped | None = None) -> None:
        """Answer a request whose caller has left, or say that its engine was stopped."""
        assert self._late is not None
        self._late(came or answer())


class BackendWithABug(BackendWithoutStreams):
    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        raise KeyError("a bug")


class SiteThatIsAway:
    async def observe(self, cluster: Cluster) -> Observation:
        raise errors.BackendUnavailable("It is away.")


def hub(backend: InferenceBackend, address: Path, *, grace_s: float = 0.1) -> HubServer:
    return HubServer(backend, SiteThatReports(), address, grace_s=grace_s)


@asynccontextmanager
async def hub_that_hangs_up(address: Path) -> AsyncIterator[None]:
    """Read a whole request and say nothing, as a hub that is killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    address.parent.mkdir(mode=0o700)
    async with stream_server_on_socket(serve, address):
        yield


@asynccontextmanager
async def hub_of_another_version(address: Path) -> AsyncIterator[None]:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=409, headers={messages.VERSION_HEADER: "2 hotnode/99"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    address.parent.mkdir(mode=0o700)
    await web.UnixSite(runner, str(address)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_request_and_answer_cross_unchanged(address: Path, gateway: HubBackend) -> None:
    backend = BackendThatEchoes()
    async with hub(backend, address):
        body = bytes(range(256)) * 10_000
        back = await gateway.infer(CLUSTER, asking(body))
    assert backend.asked == [asking(body)]
    assert (back.status, back.body, back.hops.engine_s) == (200, body, 0.05)


async def test_a_burst_finds_the_hub(address: Path, gateway: HubBackend) -> None:
    async with hub(BackendThatEchoes(), address):
        bodies = [str(n).encode() for n in range(1000)]
        answers = await asyncio.gather(*(gateway.infer(CLUSTER, asking(body)) for body in bodies))
    assert [one.body for one in answers] == bodies


def about_a_task() -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendTimeout("Too late.")
    error.task_id = "task"
    return error


def lost_unanswered() -> errors.HotnodeError:
    error = errors.BackendInterrupted("The instance is gone.")
    error.lost_unanswered = True
    return error


def without_a_hint() -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable("Nobody knows.")
    error.retry_after_s = None
    return error


@pytest.mark.parametrize(
    "make",
    [
        lambda: errors.PayloadTooLarge("Send less.", limit_bytes=10),
        lambda: errors.BackendUnavailable("It is away."),
        lambda: errors.ModelNotRunning("Not loaded."),
        lambda: errors.AnswerTooLarge("Ask for less."),
        lambda: errors.InvalidRequest("No.", param="n"),
        about_a_task,
        lost_unanswered,
        without_a_hint,
    ],
)
async def test_an_error_comes_out_as_it_went_in(
    address: Path, gateway: HubBackend, make: Callable[[], errors.HotnodeError]
) -> None:
    backend, error = BackendThatEchoes(), make()
    backend.error = error
    async with hub(backend, address):
        with pytest.raises(type(error)) as caught:
            await gateway.infer(CLUSTER, asking())
    assert type(caught.value) is type(error)
    assert caught.value.message == error.message
    facts = ("code", "retry_after_s", "lost_unanswered", "task_id", "param", "limit_bytes")
    for fact in facts:
        assert getattr(caught.value, fact, None) == getattr(error, fact, None)


async def test_a_bug_behind_the_hub_is_logged_and_invites_nobody_to_repeat(
    address: Path, gateway: HubBackend
) -> None:
    async with hub(BackendWithABug(), address):
        with capture_logs() as logs, pytest.raises(errors.BackendUnavailable) as caught:
            await gateway.infer(CLUSTER, asking())
    assert caught.value.retry_after_s is None
    assert "a bug" not in caught.value.message
    assert [entry["event"] for entry in logs] == ["hub_call_failed"]


async def test_without_a_hub_nothing_ran_and_the_caller_may_repeat(
    gateway: HubBackend, connection: HubConnection
) -> None:
    with pytest.raises(errors.BackendUnavailable) as caught:
        await gateway.infer(CLUSTER, asking())
    assert caught.value.retry_after_s is not None
    assert not await connection.available()


async def test_a_hub_that_dies_with_a_request_leaves_nobody_knowing(
    address: Path, gateway: HubBackend
) -> None:
    async with hub_that_hangs_up(address):
        with pytest.raises(errors.BackendUnavailable, match="may have run") as caught:
            await gateway.infer(CLUSTER, asking())
    assert caught.value.retry_after_s is None


async def test_after_a_restart_of_the_hub_the_next_request_works(
    address: Path, gateway: HubBackend, connection: HubConnection
) -> None:
    for _ in range(3):
        async with hub(BackendThatEchoes(), address):
            assert (await gateway.infer(CLUSTER, asking(b"x"))).body == b"x"
            assert await connection.available()
        assert not await connection.available()


async def test_a_hub_that_stops_lets_requests_finish(address: Path, gateway: HubBackend) -> None:
    class Slow(BackendThatEchoes):
        async def infer(
            self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
        ) -> InferenceAnswer:
            asked.set()
            await released.wait()
            return await super().infer(cluster, request, late=late)

    asked, released = asyncio.Event(), asyncio.Event()
    async with hub(Slow(), address, grace_s=20):
        call = asyncio.create_task(gateway.infer(CLUSTER, asking(b"x")))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.1, released.set)
    assert (await call).body == b"x"


@pytest.mark.parametrize("version", ["0 hotnode/0", None])
async def test_another_version_is_refused(address: Path, version: str | None) -> None:
    headers = {messages.VERSION_HEADER: version} if version else {}
    async with (
        hub(BackendThatEchoes(), address),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(address))) as stranger,
    ):
        for path in (messages.INFER, messages.CANCEL, messages.OBSERVE):
            async with stranger.post(f"http://hub{path}", headers=headers) as response:
                assert response.status == 409
        async with stranger.get(f"http://hub{messages.AVAILABLE}", headers=headers) as response:
            assert response.status == 409


async def test_a_hub_of_another_version_did_nothing(
    address: Path, gateway: HubBackend, connection: HubConnection
) -> None:
    async with hub_of_another_version(address):
        assert not await connection.available()
        with pytest.raises(errors.BackendUnavailable, match="updated") as caught:
            await gateway.infer(CLUSTER, asking())
    assert caught.value.retry_after_s is not None


async def test_a_site_is_observed_through_the_hub(address: Path, connection: HubConnection) -> None:
    seen = Instance(
        model="m",
        framework="vllm",
        state=InstanceState.READY,
        job_id="1",
        host="node",
        started_at=1.0,
    )
    alone = replace(seen, purpose=FOR_BATCHES)
    async with HubServer(BackendThatEchoes(), SiteThatReports([seen, alone]), address):
        observation = await HubSites(connection).observe(CLUSTER)
    assert observation == Observation(
        observed_at=1_800_000_000.0, instances=(seen,), for_batches=(alone,)
    )


async def test_a_site_that_cannot_be_asked_is_an_error(
    address: Path, connection: HubConnection
) -> None:
    async with HubServer(BackendThatEchoes(), SiteThatIsAway(), address):
        with pytest.raises(errors.BackendUnavailable, match="It is away"):
            await HubSites(connection).observe(CLUSTER)


# Callers who leave.


class Ledger:
    """Notes what comes of requests whose callers have left."""

    def __init__(self) -> None:
        self.entries: list[InferenceAnswer | Stopped | None] = []
        self._grown = asyncio.Event()

    def __call__(self, answer: InferenceAnswer | Stopped | None) -> None:
        self.entries.append(answer)
        self._grown.set()

    async def first(self) -> InferenceAnswer | Stopped | None:
        await asyncio.wait_for(self._grown.wait(), 20)
        return self.entries[0]


async def desert(gateway: HubBackend, backend: BackendThatHolds, late: Late | None) -> None:
    """Ask, and leave once the backend has the request."""
    call = asyncio.create_task(gateway.infer(CLUSTER, asking(), late=late))
    await asyncio.wait_for(backend.asked.wait(), 20)
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()


async def test_who_leaves_takes_along_what_was_not_sent(address: Path, gateway: HubBackend) -> None:
    backend, ledger = BackendThatHolds(sent=False), Ledger()
    async with hub(backend, address):
        await desert(gateway, backend, ledger)
        assert await ledger.first() is None
    assert len(ledger.entries) == 1


async def test_what_was_sent_is_accounted_for_when_it_comes(
    address: Path, gateway: HubBackend
) -> None:
    backend, ledger = BackendThatHolds(sent=True), Ledger()
    async with hub(backend, address):
        await desert(gateway, backend, ledger)
        await asyncio.wait_for(backend.deserted.wait(), 20)
        assert ledger.entries == []
        backend.finish()
        assert await ledger.first() == answer()
    assert len(ledger.entries) == 1


async def test_an_engine_that_was_stopped_is_told_of(address: Path, gateway: HubBackend) -> None:
    backend, ledger = BackendThatHolds(sent=True), Ledger()
    async with hub(backend, address):
        await desert(gateway, backend, ledger)
        await asyncio.wait_for(backend.deserted.wait(), 20)
        backend.finish(Stopped.CANCELLED)
        assert await ledger.first() is Stopped.CANCELLED


async def test_of_a_request_that_the_hub_took_along_nobody_knows(
    address: Path, gateway: HubBackend
) -> None:
    backend, ledger = BackendThatHolds(sent=True), Ledger()
    async with hub(backend, address):
        await desert(gateway, backend, ledger)
    assert await ledger.first() is None


async def test_without_accounts_the_hub_just_drops_it(address: Path, gateway: HubBackend) -> None:
    backend = BackendThatHolds(sent=False)
    async with hub(backend, address):
        await desert(gateway, backend, None)
        await asyncio.wait_for(backend.deserted.wait(), 20)


async def test_a_web_process_that_dies_takes_its_requests_along(address: Path) -> None:
    backend = BackendThatHolds(sent=False)
    async with hub(backend, address):
        connection = HubConnection(address)
        async with connection, HubBackend(connection) as gateway:
            call = asyncio.create_task(gateway.infer(CLUSTER, asking()))
            await asyncio.wait_for(backend.asked.wait(), 20)
        with pytest.raises(errors.BackendUnavailable):
            await call
        await asyncio.wait_for(backend.deserted.wait(), 20)


async def test_a_web_process_that_stops_settles_its_accounts(
    address: Path, connection: HubConnection
) -> None:
    backend, ledger = BackendThatHolds(sent=True), Ledger()
    async with hub(backend, address):
        async with HubBackend(connection) as gateway:
            await desert(gateway, backend, ledger)
            await asyncio.wait_for(backend.deserted.wait(), 20)
        assert ledger.entries == [None]


async def test_late_answers_take_bounded_room(address: Path, connection: HubConnection) -> None:
    backend, ledger = BackendThatHolds(sent=True), Ledger()
    async with hub(backend, address), HubBackend(connection, most_late=0) as gateway:
        await desert(gateway, backend, ledger)
        assert ledger.entries == [None]
        await asyncio.wait_for(backend.deserted.wait(), 20)
