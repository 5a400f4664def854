"""What the servers of tests leave behind: nothing, also where somebody stays."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.served import served
from tests.support.stream_server import stream_server

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_who_stays_is_cut_when_a_server_s_grace_is_over():
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def never_ends(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with served(never_ends, grace_s=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.wait_for(began.wait(), 10)
    assert cancelled.is_set()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await writer.wait_closed()


async def test_who_has_only_just_connected_is_cut_when_streams_are_served_no_more():
    begun: list[asyncio.StreamWriter] = []

    async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(writer)
        await asyncio.Event().wait()

    async with stream_server(never_ends) as port:
        first, writer = await asyncio.open_connection("127.0.0.1", port)
        while not begun:  # noqa: ASYNC110 # the handler tells by that list alone
            await asyncio.sleep(0)
        second, other = await asyncio.open_connection("127.0.0.1", port)
    for reader in (first, second):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    for each in (writer, other):
        each.close()
        await each.wait_closed()


async def test_who_is_served_with_an_error_is_cut(caplog):
    async def fails(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ValueError("as asked")

    async with stream_server(fails) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await writer.wait_closed()
    assert "a handler failed" in caplog.text
