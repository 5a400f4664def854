"""Bodies that are read while they come: files, which no process could hold in its memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from resource_server.api import refusals
from resource_server.api.body import declared_length
from resource_server.api.exchange import Exchange

#: Seconds within which a streamed body must be here.
STREAM_TIMEOUT_S = 3600.0
#: So many are read at the same time, by one process, and for one person.
MOST_AT_ONCE = 64
MOST_PER_PERSON = 8


class StreamedBody:
    """One body, in pieces; who reads slowly slows the sender down.

    `declared` is its length as the request says it, None if it does not. `read` is how many bytes
    have come.
    """

    def __init__(self, exchange: Exchange, *, timeout_s: float) -> None:
        self._exchange = exchange
        self._timeout_s = timeout_s
        self.declared = declared_length(exchange) or None
        self.read = 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield it to its end, once.

        Raises `BodyTooSlow`, `BodyStalled`, and `RequestAborted` if its sender left.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        more = True
        while more:
            try:
                async with asyncio.timeout_at(deadline):
                    message = await self._exchange.receive()
            except TimeoutError:
                raise refusals.BodyTooSlow from None
            more = message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self.read += len(piece)
            if piece:
                yield piece


class StreamedBodies:
    """How the streamed bodies of a process are read.

    Each has to be here within `timeout_s`. There are `most` at the same time, and no more than
    `most_per_person` of one sender, so that nobody keeps all others out.
    """

    def __init__(
        self,
        *,
        timeout_s: float = STREAM_TIMEOUT_S,
        most: int = MOST_AT_ONCE,
        most_per_person: int = MOST_PER_PERSON,
    ) -> None:
        self._timeout_s = timeout_s
        self._most = most
        self._most_per_person = most_per_person
        self._senders: Counter[str] = Counter()

    @contextmanager
    def incoming(self, exchange: Exchange, sender: str) -> Iterator[StreamedBody]:
        """Lend the body of a request; raises `TooManyBodies`, and `InvalidRequest` for its length.

        `sender` is the account's id.
        """
        full = self._senders.total() >= self._most
        if full or self._senders[sender] >= self._most_per_person:
            raise refusals.TooManyBodies
        body = StreamedBody(exchange, timeout_s=self._timeout_s)
        self._senders[sender] += 1
        try:
            yield body
        finally:
            self._senders[sender] -= 1
            if not self._senders[sender]:
                del self._senders[sender]
