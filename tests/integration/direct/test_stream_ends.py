"""A stream ends with the engine's own end; what then becomes of the connection to the engine."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from typing_extensions import override

from resource_server.adapters.direct import DirectBackend
from resource_server.adapters.usage_reader import read_event_usage
from resource_server.domain.dialects import Dialect
from resource_server.services.events import EventsUnderWay, reader_of
from resource_server.services.stream_options import EVERYTHING
from tests.support.direct_engines import asking, cluster_at, engine_at
from tests.support.paced_engine import PacedEngine


class EngineThatKnowsItsCallers(PacedEngine):
    """Remembers on which connection each request came."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Any] = []

    @override
    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.callers.append(request.transport.get_extra_info("peername"))
        return await super().answer(request)


async def read(backend: DirectBackend, url: str, **asked: Any) -> bytes:
    """Return a stream as its reader gets it, to the end."""
    answer = await backend.stream(cluster_at(url), asking(**asked))
    events = EventsUnderWay(answer, reader_of(Dialect.CHUNKS, EVERYTHING, read_event_usage))
    try:
        return b"".join([part async for part in events.parts])
    finally:
        await events.aclose()
        await answer.aclose()


async def test_an_engine_that_ends_its_answer_is_called_again_on_the_same_connection(backend):
    engine = EngineThatKnowsItsCallers()
    async with engine_at(engine) as url:
        for _ in range(3):
            assert (await read(backend, url)).endswith(b"data: [DONE]\n\n")
    assert len(engine.callers) == 3
    assert len(set(engine.callers)) == 1


async def test_an_engine_that_never_ends_its_answer_is_hung_up_on(backend):
    engine = EngineThatKnowsItsCallers()
    async with engine_at(engine) as url:
        body = await read(backend, url, keeps_open=True)
        [served] = engine.served.values()
        await asyncio.wait_for(served.hung_up.wait(), 10)
    assert body == bytes(served.said)
