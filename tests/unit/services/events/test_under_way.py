from __future__ import annotations

import asyncio

from resource_server.adapters.usage_reader import read_event_usage
from resource_server.domain.dialects import Dialect
from resource_server.services.events import EventsUnderWay, reader_of
from resource_server.services.stream_options import EVERYTHING
from tests.support.streams import DONE, PacedStream

EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def events_of(stream: PacedStream, *, end_within_s: float) -> EventsUnderWay:
    reader = reader_of(Dialect.CHUNKS, EVERYTHING, read_event_usage)
    return EventsUnderWay(stream, reader, end_within_s=end_within_s)


async def test_the_reader_has_the_end_before_the_engine_s_answer_is_over():
    end = asyncio.Event()
    stream = PacedStream([EVENT, DONE, end, b": bye\n\n"])
    events = events_of(stream, end_within_s=30)
    async with asyncio.timeout(10):
        assert [part async for part in events.parts] == [EVENT, DONE]
        closing = asyncio.create_task(events.aclose())
        end.set()
        await closing
    # Read to its end, and not hung up on.
    assert stream.sent == 3


async def test_an_answer_that_never_ends_is_not_waited_for():
    stream = PacedStream([EVENT, DONE, asyncio.Event()])
    events = events_of(stream, end_within_s=0.01)
    async with asyncio.timeout(10):
        assert [part async for part in events.parts] == [EVENT, DONE]
        await events.aclose()


async def test_an_answer_that_is_not_whole_is_not_read_on():
    stream = PacedStream([EVENT, EVENT, DONE])
    events = events_of(stream, end_within_s=30)
    assert await anext(events.parts) == EVENT
    await events.aclose()
    assert stream.sent == 1
