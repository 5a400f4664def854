"""A server of plain streams for tests: with it end its connections and those who serve them.

`asyncio.start_server` leaves both as they are, and a handler that is cancelled before its first
step closes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: For what a cancelled handler still has to do.
_LAST_S = 10.0
#: Turns of the loop in which a connection that was just accepted comes to be known.
_TURNS = 5


class _Callers:
    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._served(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = False
        try:
            await self._serve(reader, writer)
            whole = True
        finally:
            if not whole:
                writer.transport.abort()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            told = {"message": "a handler failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(told)

    async def end(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_LAST_S)
        for writer in self._writers:
            writer.transport.abort()
        # The loop tells each connection of its end.
        await asyncio.sleep(0)


@asynccontextmanager
async def stream_server(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on any port of the loopback; yields the port."""
    callers = _Callers(serve)
    server = await asyncio.start_server(callers.meet, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await callers.end()


@asynccontextmanager
async def stream_server_on_socket(
    serve: Serve, path: Path | str, *, backlog: int = 100
) -> AsyncIterator[None]:
    """Serve on a Unix socket."""
    callers = _Callers(serve)
    server = await asyncio.start_unix_server(callers.meet, path, backlog=backlog)
    try:
        yield
    finally:
        server.close()
        await callers.end()
