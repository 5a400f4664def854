"""Streams of a cluster with nothing but Globus Compute: the real agent, with egress and without.

The hub listens as in the gateway, and the function in the agent's process opens the POST.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from typing_extensions import override

from compute_functions.contract.pushes import Push
from resource_server.adapters.globus_compute import GlobusComputeBackend, ServiceAddresses
from resource_server.adapters.pushed_streams import PushedStream, PushedStreams
from resource_server.domain import errors
from resource_server.domain.inference import InferenceRequest
from resource_server.ports import AnswerStream
from tests.support.compute_site import FRAMEWORK, MODEL, ComputeSite, EngineThatEchoes, compute_site
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import PacedEngine, Served
from tests.support.push_hub import push_hub

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Oslo"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


class EngineThatStreams(EngineThatEchoes):
    """Streams where it is asked to, and else answers with a whole chat."""

    def __init__(self) -> None:
        super().__init__()
        self.paced = PacedEngine()
        self.whole: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if asked.get("stream"):
            return await self.paced.answer(request)
        self.whole.append(asked)
        return web.json_response(CHAT, status=asked.get("status", 200))


class HubThatCounts(PushedStreams):
    """Counts the answers that it was told to wait for."""

    expected = 0

    @override
    def expect(self, cluster: str, *, silence_s: float) -> tuple[PushedStream, Push]:
        self.expected += 1
        return super().expect(cluster, silence_s=silence_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A task-only cluster, and the hub that its site pushes to."""

    site: ComputeSite
    engine: EngineThatStreams
    hub: PushedStreams
    backend: GlobusComputeBackend
    ids: list[str] = field(default_factory=list)

    async def stream(
        self, *, timeout_s: float = 60.0, model: str = MODEL, push: bool = True, **body: Any
    ) -> AnswerStream:
        request = InferenceRequest(
            request_id=secrets.token_hex(4),
            framework=FRAMEWORK,
            model=model,
            path="/v1/chat/completions",
            body=json.dumps({"model": model, "stream": True, **body}).encode(),
            timeout_s=timeout_s,
            headers={"content-type": "application/json"},
        )
        self.ids.append(request.request_id)
        return await self.backend.stream(self.site.cluster(push=push), request)

    @property
    def served(self) -> Served:
        """What the engine did for the last request."""
        return self.engine.paced.served[self.ids[-1]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way() -> AsyncIterator[Way]:
    engine = EngineThatStreams()
    async with (
        LocalGlobus(limits=True) as globus,
        compute_site(globus, engine) as site,
        push_hub() as hub,
        GlobusComputeBackend(
            site.clients,
            addresses=ServiceAddresses(auth=globus.auth_url, compute=globus.url),
            pushes=hub,
        ) as backend,
    ):
        yield Way(site=site, engine=engine, hub=hub, backend=backend)


async def whole(stream: AnswerStream) -> bytes:
    async with asyncio.timeout(60):
        return b"".join([piece async for piece in stream])


@pytest.mark.row("C-63")
async def test_a_stream_is_the_engine_s_byte_for_byte(way: Way) -> None:
    stream = await way.stream(tokens=300, pad=2000)
    assert (stream.head.status, stream.head.transport) == (200, "task")
    assert stream.head.content_type == "text/event-stream"
    assert stream.head.task_id
    assert "x-hotnode-stream" not in stream.head.headers
    assert await whole(stream) == bytes(way.served.said)
    hops = stream.hops
    assert hops.engine_s > 0
    assert min(hops.queue_s, hops.transport_s, hops.site_s) >= 0
    await stream.aclose()
    assert len(way.hub) == 0


async def test_events_come_while_the_engine_works(way: Way) -> None:
    way.engine.paced.go.clear()
    stream = await way.stream(tokens=3, pause_at=2)
    pieces = aiter(stream)
    first = await asyncio.wait_for(anext(pieces), 30)
    assert first.startswith(b'data: {"n":1,')
    way.engine.paced.go.set()
    rest = b"".join([piece async for piece in pieces])
    assert first + rest == bytes(way.served.said)
    await stream.aclose()


async def test_many_streams_at_once_do_not_mix(way: Way) -> None:
    streams = await asyncio.gather(*(way.stream(tokens=n) for n in range(1, 13)))
    bodies = await asyncio.gather(*map(whole, streams))
    assert [body.count(b"data: {") for body in bodies] == list(range(1, 13))
    for stream in streams:
        await stream.aclose()


async def test_a_caller_who_leaves_stops_the_engine(way: Way) -> None:
    way.engine.paced.go.clear()
    stream = await way.stream(tokens=3, pause_at=2)
    await anext(aiter(stream))
    await stream.aclose()
    await asyncio.wait_for(way.served.hung_up.wait(), 10)
    way.engine.paced.go.set()


async def test_a_caller_who_leaves_before_the_head_stops_the_engine(way: Way) -> None:
    before = len(way.engine.paced.served)
    asking = asyncio.create_task(way.stream(hang=True))
    async with asyncio.timeout(60):
        while len(way.engine.paced.served) == before:  # noqa: ASYNC110 # no event
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(way.served.hung_up.wait(), 10)
    assert len(way.hub) == 0


async def test_an_engine_s_error_before_the_first_event_is_a_status(way: Way) -> None:
    stream = await way.stream(refuse=429)
    assert stream.head.status == 429
    assert json.loads(await whole(stream)) == {"error": "no"}
    await stream.aclose()


async def test_an_engine_that_breaks_off_is_an_error_after_what_came(way: Way) -> None:
    stream = await way.stream(tokens=5, break_at=3)
    came: list[bytes] = []
    with pytest.raises(errors.BackendInterrupted) as caught:
        await _gather(stream, came)
    assert b"".join(came) == bytes(way.served.said)
    assert caught.value.task_id == stream.head.task_id
    await stream.aclose()


async def _gather(stream: AnswerStream, came: list[bytes]) -> None:
    async for piece in stream:
        came += [piece]


async def test_a_model_that_does_not_run_is_named(way: Way) -> None:
    with pytest.raises(errors.ModelNotRunning) as caught:
        await way.stream(model="not-loaded")
    assert caught.value.retry_after_s is not None
    assert caught.value.task_id
    assert len(way.hub) == 0


async def test_an_engine_that_says_nothing_is_a_timeout(way: Way) -> None:
    # On a busy machine a task may take longer than that to reach the engine at all.
    for timeout_s in (3.0, 10.0, 30.0):
        with pytest.raises(errors.BackendTimeout) as caught:
            await way.stream(hang=True, timeout_s=timeout_s)
        assert caught.value.retry_after_s is None
        if way.ids[-1] in way.engine.paced.served:
            break
    await asyncio.wait_for(way.served.hung_up.wait(), 10)


async def test_without_egress_nothing_is_asked(way: Way) -> None:
    before = len(way.engine.whole)
    with pytest.raises(errors.StreamComesWhole):
        await way.stream(push=False)
    assert len(way.engine.whole) == before
    assert way.ids[-1] not in way.engine.paced.served


async def test_a_site_that_cannot_reach_the_hub_runs_nothing_and_is_not_asked_again(
    way: Way,
) -> None:
    addresses = way.backend.channels._addresses  # noqa: SLF001 # the same service as the other one
    nowhere = HubThatCounts("http://127.0.0.1:9")
    async with GlobusComputeBackend(
        way.site.clients, addresses=addresses, pushes=nowhere
    ) as backend:
        cut_off = Way(site=way.site, engine=way.engine, hub=nowhere, backend=backend)
        before = len(way.engine.whole)
        for _ in range(2):
            with pytest.raises(errors.StreamComesWhole):
                await cut_off.stream()
        assert len(way.engine.whole) == before
        assert cut_off.ids[0] not in way.engine.paced.served
    assert nowhere.expected == 1
