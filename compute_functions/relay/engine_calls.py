"""Calls to the engine whose answers are read as they come, on connections that are kept."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from compute_functions import loopback_port
from compute_functions.engine_client import CONNECT_TIMEOUT_S, Engine
from compute_functions.errors import EngineUnreachable
from compute_functions.relay.engine_connection import EngineConnection, NeverRead
from compute_functions.relay.engine_wire import Head, request_bytes

#: Engines close what was idle for five seconds (uvicorn's default): leave before they do.
KEEP_IDLE_S = 2.5
#: The type of a stream of tokens.
EVENTS = "text/event-stream"
#: When so many callers come at once that the engine's queue is full (seconds).
_QUEUE_FULL_PAUSE_S = 0.01


class CallerWatch(Protocol):
    """Is told how callers fare. Times are `time.monotonic`, and seconds."""

    def came(self, now: float) -> None:
        """Note that a caller's request goes to the engine."""
        ...

    def first_token(self, *, seconds: float, size: int, now: float) -> None:
        """Note how long the first part of a stream took that was asked for with so many bytes."""
        ...

    def gave_up(self, *, seconds: float, size: int, now: float) -> None:
        """Note that a caller left a stream after so long, before its first part."""
        ...


class EngineCalls:
    """A client of one engine; open it with `async with`. It sets no limits to time: callers do."""

    def __init__(self, engine: Engine, watch: CallerWatch | None = None) -> None:
        self._engine = engine
        self._watch = watch
        self._port = loopback_port.of(engine.endpoint)
        self._idle: list[EngineConnection] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().abort()

    def call(
        self, path: str, *, headers: Mapping[str, str], body: bytes = b"", method: str = "POST"
    ) -> EngineCall:
        """Return the call as a context; leaving it before the answer's end hangs up."""
        head = request_bytes(method, path, self._engine.headers(headers), body)
        return EngineCall(self, head, body, watch=self._watch if method == "POST" else None)

    async def connection(self) -> EngineConnection:
        """Return a connection that nobody uses, or raise `EngineUnreachable`."""
        while self._idle:
            kept = self._idle.pop()
            if kept.usable:
                return kept
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._opened()
        except TimeoutError as error:
            raise EngineUnreachable(f"no connection within {CONNECT_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise EngineUnreachable(f"{self._engine.endpoint}: {error.strerror}") from error

    def take_back(self, connection: EngineConnection) -> None:
        """Keep a connection for the next call, if it is good for one."""
        if not connection.finished:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_IDLE_S / 2, self._close_idle)

    def _close_idle(self) -> None:
        """Close what was idle for long; the list's beginning was idle longest."""
        self._sweep = None
        loop = asyncio.get_running_loop()
        before = loop.time() - KEEP_IDLE_S / 2
        for connection in self._idle:
            if connection.idle_since < before:
                connection.abort()
        self._idle = [one for one in self._idle if one.idle_since >= before]
        if self._idle:
            self._sweep = loop.call_later(KEEP_IDLE_S / 2, self._close_idle)

    async def _opened(self) -> EngineConnection:
        loop = asyncio.get_running_loop()
        if self._port is None:
            opened = await _unix_socket(self._engine.endpoint)
            return (await loop.create_unix_connection(EngineConnection, sock=opened))[1]
        # A port can be another program's as soon as the engine is gone: it must not get the key.
        if not await asyncio.to_thread(loopback_port.held_by_us, self._port):
            raise EngineUnreachable(f"nobody of ours listens on port {self._port}")
        return (await loop.create_connection(EngineConnection, loopback_port.HOST, self._port))[1]


class EngineCall:
    """One call: a context, in which its answer is read."""

    def __init__(
        self, calls: EngineCalls, head: bytes, body: bytes, *, watch: CallerWatch | None
    ) -> None:
        self._calls = calls
        self._head = head
        self._body = body
        self._size = len(body)
        self._watch = watch
        self._began = 0.0
        self._connection: EngineConnection | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        if self._watch is not None:
            self._began = time.monotonic()
            self._watch.came(self._began)
        head = await self._begun()
        self.status, self.headers, self._body = head.status, head.headers, b""
        if self._watch and not head.headers.get("content-type", "").startswith(EVENTS):
            # Of an answer in one piece nobody knows when its first token was there.
            self._watch = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._calls.take_back(self._connection)
        if self._watch is not None and self.status:
            now = time.monotonic()
            self._watch.gave_up(seconds=now - self._began, size=self._size, now=now)

    async def _begun(self) -> Head:
        """Send the request; again if a kept connection turns out to be closed already."""
        while True:
            self._connection = connection = await self._calls.connection()
            try:
                return await connection.call(self._head, self._body)
            except NeverRead:
                if not connection.idle_since:
                    raise
            except BaseException:
                connection.abort()
                raise

    async def read(self) -> bytes:
        """Return what has come of the body since; nothing at its end."""
        if self._connection is None:
            raise EngineUnreachable("the call was not made")
        data = await self._connection.read()
        if self._watch is not None:
            now = time.monotonic()
            self._watch.first_token(seconds=now - self._began, size=self._size, now=now)
            self._watch = None
        return data


async def _unix_socket(path: str) -> socket.socket:
    """Return a socket that is connected.

    When the engine's queue is full the kernel does not wait but says so, which asyncio takes for
    progress: it would give us a socket that is connected to nobody.
    """
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.setblocking(False)
        while True:
            try:
                opened.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_QUEUE_FULL_PAUSE_S)
            else:
                return opened
    except BaseException:
        opened.close()
        raise
