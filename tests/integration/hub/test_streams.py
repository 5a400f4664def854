from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from resource_server.adapters.hub import HubBackend, HubServer
from resource_server.adapters.hub.messages import Call
from resource_server.adapters.hub.parts import MOST_BYTES, Kind, decoded, encoded
from resource_server.adapters.hub.stream_under_way import StreamUnderWay
from resource_server.domain import errors
from resource_server.domain.inference import InferenceRequest
from tests.support.catalogs import cluster
from tests.support.gateway import SiteThatReports
from tests.support.streams import HEAD, BackendThatStreams

CLUSTER = cluster()
ASKED = InferenceRequest(
    request_id="req_1",
    framework="vllm",
    model="m",
    path="/v1/chat/completions",
    body=b"{}",
    timeout_s=20,
    affinity="a",
)


@asynccontextmanager
async def hub(backend: BackendThatStreams, address: Path) -> AsyncIterator[None]:
    async with HubServer(backend, SiteThatReports(), address, grace_s=0.1):
        yield


async def read(gateway: HubBackend) -> bytes:
    """Return the body of a whole stream."""
    stream = await gateway.stream(CLUSTER, ASKED)
    try:
        return b"".join([part async for part in stream])
    finally:
        await stream.aclose()


async def test_a_stream_crosses_unchanged(address: Path, gateway: HubBackend) -> None:
    parts = [bytes(range(256)), b"x", b"y" * 300_000, b"\x02\x00\x00\x00\x01"]
    backend = BackendThatStreams(*parts)
    async with hub(backend, address):
        stream = await gateway.stream(CLUSTER, ASKED)
        assert stream.head == HEAD
        assert b"".join([part async for part in stream]) == b"".join(parts)
        assert stream.hops.engine_s == 0.01
        await stream.aclose()
    assert backend.asked == [ASKED]
    assert backend.streams[0].closed.is_set()


async def test_parts_come_as_soon_as_they_are_there(address: Path, gateway: HubBackend) -> None:
    go_on = asyncio.Event()
    async with hub(BackendThatStreams(b"1", go_on, b"2"), address):
        stream = await gateway.stream(CLUSTER, ASKED)
        body = aiter(stream)
        assert await anext(body) == b"1"
        go_on.set()
        assert await anext(body) == b"2"
        await stream.aclose()


@pytest.mark.parametrize("error", [errors.ModelNotRunning("No."), errors.BackendTimeout("Late.")])
async def test_an_error_instead_of_a_head_comes_out_as_it_went_in(
    address: Path, gateway: HubBackend, error: errors.HotnodeError
) -> None:
    backend = BackendThatStreams()
    backend.error = error
    async with hub(backend, address):
        with pytest.raises(type(error), match=error.message) as caught:
            await gateway.stream(CLUSTER, ASKED)
    assert caught.value.retry_after_s == error.retry_after_s


async def test_an_error_within_the_body_comes_behind_what_was_there(
    address: Path, gateway: HubBackend
) -> None:
    async with hub(BackendThatStreams(b"1", errors.BackendInterrupted("Cut.")), address):
        stream = await gateway.stream(CLUSTER, ASKED)
        body = aiter(stream)
        assert await anext(body) == b"1"
        with pytest.raises(errors.BackendInterrupted, match="Cut"):
            await anext(body)
        await stream.aclose()


async def test_a_hub_that_stops_interrupts_its_streams(address: Path, gateway: HubBackend) -> None:
    backend = BackendThatStreams(b"1", asyncio.Event())
    async with hub(backend, address):
        stream = await gateway.stream(CLUSTER, ASKED)
        body = aiter(stream)
        assert await anext(body) == b"1"
    with capture_logs() as logs, pytest.raises(errors.BackendInterrupted, match="hub"):
        await anext(body)
    await stream.aclose()
    assert [entry["event"] for entry in logs] == ["hub_lost_stream"]
    assert backend.streams[0].closed.is_set()


async def test_who_hangs_up_stops_the_engine(address: Path, gateway: HubBackend) -> None:
    backend = BackendThatStreams(b"1", asyncio.Event())
    async with hub(backend, address):
        stream = await gateway.stream(CLUSTER, ASKED)
        assert await anext(aiter(stream)) == b"1"
        await stream.aclose()
        await asyncio.wait_for(backend.streams[0].closed.wait(), 10)


async def test_who_has_hung_up_when_the_end_is_written_is_no_fault_of_the_hub(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = BackendThatStreams()
    handled = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        def hangs_up(_: InferenceRequest) -> Iterator[bytes]:
            yield b"1"
            assert request.transport is not None
            # From now on it is closing; that the connection is lost is heard a moment later.
            request.transport.close()
            yield b"2"

        backend.script = hangs_up
        call = Call(id="req_1", cluster=CLUSTER, request=ASKED)
        try:
            return await StreamUnderWay(backend, call).serve(request)
        finally:
            handled.set()

    application = web.Application()
    application.router.add_post("/", serve)
    async with TestServer(application) as server, ClientSession() as web_process:
        async with web_process.post(server.make_url("/")) as response:
            with pytest.raises(ClientPayloadError):
                await response.read()
        await asyncio.wait_for(handled.wait(), 10)
    assert backend.streams[0].closed.is_set()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_that_streams_come_whole_is_known_behind_the_hub(
    address: Path, gateway: HubBackend
) -> None:
    backend = BackendThatStreams()
    backend.error = errors.StreamComesWhole()
    async with hub(backend, address):
        with pytest.raises(errors.StreamComesWhole):
            await gateway.stream(CLUSTER, ASKED)


async def test_who_leaves_before_the_head_takes_the_request_along(
    address: Path, gateway: HubBackend
) -> None:
    class Waiting(BackendThatStreams):
        async def stream(self, cluster, request):
            self.opened.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

    backend, left = Waiting(), asyncio.Event()
    async with hub(backend, address):
        call = asyncio.create_task(gateway.stream(CLUSTER, ASKED))
        await asyncio.wait_for(backend.opened.wait(), 10)
        call.cancel()
        await asyncio.wait_for(left.wait(), 10)
        assert (await asyncio.gather(call, return_exceptions=True))[0].__class__ is (
            asyncio.CancelledError
        )


async def test_a_reader_who_stops_reading_holds_back_the_engine(
    address: Path, gateway: HubBackend
) -> None:
    backend = BackendThatStreams()
    backend.script = lambda _: (b"x" * 60_000 for _ in iter(int, 1))
    async with hub(backend, address):
        stream = await gateway.stream(CLUSTER, ASKED)
        await anext(aiter(stream))
        sent = -1
        while sent != backend.streams[0].sent:
            sent = backend.streams[0].sent
            await asyncio.sleep(0.2)
        assert sent < 100
        await stream.aclose()
        await asyncio.wait_for(backend.streams[0].closed.wait(), 10)


async def test_without_a_hub_nothing_ran(gateway: HubBackend) -> None:
    with pytest.raises(errors.BackendUnavailable) as caught:
        await gateway.stream(CLUSTER, ASKED)
    assert caught.value.retry_after_s is not None


async def test_many_streams_at_once_over_connections_that_are_used_again(
    address: Path, gateway: HubBackend
) -> None:
    async with hub(BackendThatStreams(b"a", 0.01, b"b"), address):
        for _ in range(2):
            bodies = await asyncio.gather(*(read(gateway) for _ in range(100)))
            assert set(bodies) == {b"ab"}


class ContentInPieces:
    """What aiohttp's reader of a body does, with pieces of a test's own."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=9)), max_size=8),
    st.lists(st.integers(min_value=0, max_value=120), max_size=8),
)
async def test_parts_are_whole_however_they_are_cut(parts, places):
    body = b"".join(encoded(kind, payload) for kind, payload in parts)
    edges = [0, *sorted(min(place, len(body)) for place in places), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    content: Any = ContentInPieces(pieces)
    seen = [part async for part in decoded(content)]

    def joined(items):
        data, others = b"", []
        for kind, payload in items:
            if kind == Kind.DATA:
                data += payload
            else:
                others.append((kind, payload, len(data)))
        return data, others

    assert joined(seen) == joined(parts)


def test_no_part_is_longer_than_it_may_be():
    whole = encoded(Kind.DATA, b"x" * (2 * MOST_BYTES + 1))
    assert len(whole) == 2 * MOST_BYTES + 1 + 3 * 5
