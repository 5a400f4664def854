"""The threshold of a door: who has not shown the key yet is one of few, and stands there briefly.

Everybody on the cluster's network can knock. Whoever does must not use up the files that a process
may have open: the instance's relay and its engine's calls need some, too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

log = logging.getLogger("hotnode.door")

#: When no connection can be taken, as for want of open files, before the next try (seconds).
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """So many may stand there at once, and so long (seconds): with TLS, and a request's head.

    One more sends away who has stood there longest: functions are through in no time.
    """

    most: int = 256
    within_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a connection comes to: `made` returns the protocol that it speaks behind its TLS."""

    made: Callable[[], asyncio.Protocol]
    context: ssl.SSLContext


class Threshold:
    """Takes the connections of a socket that listens, and does not block."""

    def __init__(self, listening: socket.socket, limits: Strangers) -> None:
        self._listening = listening
        self._limits = limits
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._known: dict[asyncio.BaseTransport, asyncio.Event] = {}

    @asynccontextmanager
    async def open(self, inside: Inside) -> AsyncIterator[None]:
        """Let connections in during the block. Who has shown the key is not cut off at its end."""
        accepting = asyncio.create_task(self._accept(inside), name="door")
        accepting.add_done_callback(_tell_fault)
        try:
            yield
        finally:
            tasks = {accepting, *self._strangers}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def admit(self, transport: asyncio.BaseTransport | None) -> None:
        """Take it that this one has shown the key."""
        known = self._known.get(transport) if transport else None
        if known is not None:
            known.set()

    async def _accept(self, inside: Inside) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                came, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("door_blocked error=%s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            self._make_room()
            task = asyncio.create_task(self._let_in(came, inside), name="door stranger")
            self._strangers[task] = None
            task.add_done_callback(lambda task: self._strangers.pop(task, None))
            # Only a task that has begun closes its socket when it is cancelled.
            await asyncio.sleep(0)

    def _make_room(self) -> None:
        if len(self._strangers) >= self._limits.most:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.cancel()

    async def _let_in(self, came: socket.socket, inside: Inside) -> None:
        """Open one connection, and drop it unless the key is shown in time."""
        loop, known = asyncio.get_running_loop(), asyncio.Event()
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(self._limits.within_s):
                transport, _ = await loop.connect_accepted_socket(
                    inside.made, came, ssl=inside.context
                )
                self._known[transport] = known
                await known.wait()
        except OSError as error:  # `TimeoutError` and `ssl.SSLError` are some.
            log.debug("stranger_at_the_door error=%r", error)
        finally:
            if transport is not None:
                del self._known[transport]
                if not known.is_set() and isinstance(transport, asyncio.Transport):
                    transport.abort()


def _tell_fault(accepting: asyncio.Task[None]) -> None:
    if not accepting.cancelled() and (fault := accepting.exception()) is not None:
        log.error("door_failed", exc_info=fault)
