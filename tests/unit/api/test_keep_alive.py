from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resource_server.api.answer import PART_BYTES
from resource_server.api.keep_alive import KEEP_ALIVE, KeptAlive


class ExchangeThatNotes:
    """Notes what is written; a write returns when it is `open`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.grown = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def write(self, body: bytes, *, more: bool) -> None:
        assert more
        self.written.append(body)
        self.grown.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def next(self) -> bytes:
        self.grown.clear()
        await asyncio.wait_for(self.grown.wait(), 5)
        return self.written[-1]


def kept_alive(exchange: Any, **times: Any) -> KeptAlive:
    """Return a stream of an exchange, of which it asks for `write` alone."""
    return KeptAlive(exchange, **times)


async def test_silence_is_filled_again_and_again():
    exchange = ExchangeThatNotes()
    async with kept_alive(exchange, every_s=0.02):
        assert await exchange.next() == KEEP_ALIVE
        assert await exchange.next() == KEEP_ALIVE


async def test_nothing_is_said_while_the_client_has_still_to_read():
    exchange = ExchangeThatNotes()
    exchange.open.clear()
    async with kept_alive(exchange, every_s=0.01) as client:
        writing = asyncio.create_task(client.write(b"data: 1\n\n"))
        await asyncio.sleep(0.1)
        assert exchange.written == [b"data: 1\n\n"]
        exchange.open.set()
        await writing
        assert await exchange.next() == KEEP_ALIVE


async def test_an_event_waits_for_a_comment_that_is_being_written():
    exchange = ExchangeThatNotes()
    exchange.open.clear()
    async with kept_alive(exchange, every_s=0.01) as client:
        await exchange.next()
        writing = asyncio.create_task(client.write(b"data: 1\n\n"))
        await asyncio.sleep(0.05)
        assert exchange.written == [KEEP_ALIVE]
        exchange.open.set()
        await writing
        assert exchange.written[:2] == [KEEP_ALIVE, b"data: 1\n\n"]


async def test_a_comment_that_cannot_be_written_is_the_stream_s_failure():
    exchange = ExchangeThatNotes()
    exchange.error = OSError("gone")
    async with kept_alive(exchange, every_s=0.01) as client:
        await exchange.next()
        with pytest.raises(OSError, match="gone"):
            await client.write(b"data: 1\n\n")


async def test_a_comment_under_way_ends_with_the_stream():
    exchange = ExchangeThatNotes()
    exchange.open.clear()
    async with kept_alive(exchange, every_s=0.01):
        await exchange.next()
    assert exchange.written == [KEEP_ALIVE]


async def test_large_events_are_written_piece_by_piece():
    exchange = ExchangeThatNotes()
    async with kept_alive(exchange) as client:
        await client.write(b"x" * (2 * PART_BYTES + 1))
    assert [len(part) for part in exchange.written] == [PART_BYTES, PART_BYTES, 1]
