"""One answer on its way to a hub: sent as far as the credit lets it, kept until it was read."""

from __future__ import annotations

import asyncio
from collections import deque

from compute_functions.contract.frames import MAX_DATA, WINDOW, Frame, FrameKind
from compute_functions.contract.relay import AnswerEnd, AnswerError, AnswerHead, StreamState
from compute_functions.errors import ProtocolBroken
from compute_functions.relay.outbox import Outbox


class Answer:
    """The relay's half of a stream.

    All that it sends it can send again from where the hub says: a link may be cut anywhere.
    """

    def __init__(self, stream: int, credit: int, outbox: Outbox) -> None:
        self._stream = stream
        self._credit = credit
        self._outbox = outbox
        self._head: Frame | None = None
        self._last: Frame | None = None
        self._kept: deque[bytes] = deque()
        self._kept_from = 0
        self._sent = 0
        self._read_on: asyncio.Future[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether the head was sent."""
        return self._head is not None

    @property
    def over(self) -> bool:
        """Whether the end was sent, or an error."""
        return self._last is not None

    @property
    def room(self) -> int:
        """How many bytes the hub lets come now."""
        return self._credit - self._sent

    def begin(self, head: AnswerHead) -> None:
        """Send the head."""
        self._head = Frame(FrameKind.HEAD, self._stream, 0, head.to_payload())
        self._outbox.put(self._head)

    async def write(self, data: bytes) -> None:
        """Send a part of the body, waiting for credit where there is none."""
        if len(data) <= MAX_DATA and len(data) <= self._credit - self._sent:
            self._put(data)
            return
        at = 0
        while at < len(data):
            until = at + min(await self._credited(), MAX_DATA)
            self._put(data[at:until])
            at = until

    def end(self, end: AnswerEnd) -> None:
        """Send that the answer is whole."""
        self._finish(FrameKind.END, end.to_payload())

    def fail(self, error: AnswerError) -> None:
        """Send that there will be no whole answer, unless its end was sent."""
        if self._last is None:
            self._finish(FrameKind.ERROR, error.to_payload())

    def credit(self, until: int) -> None:
        """Take note that the body may come up to `until`, and forget what was surely read."""
        self._credit = max(self._credit, until)
        self._forget(self._credit - WINDOW)
        if self._read_on is not None and not self._read_on.done():
            self._read_on.set_result(None)

    def resume(self, hub_has: StreamState) -> None:
        """Send again what the hub has not got, after a link was cut."""
        if not self._kept_from <= hub_has.received <= self._sent:
            raise ProtocolBroken(
                f"stream {self._stream}: the hub has {hub_has.received} bytes, here are "
                f"{self._kept_from} to {self._sent}"
            )
        if self._head is not None and not hub_has.head:
            self._outbox.put(self._head)
        at = self._kept_from
        for part in self._kept:
            if at + len(part) > hub_has.received:
                known = max(0, hub_has.received - at)
                self._outbox.put(Frame(FrameKind.DATA, self._stream, at + known, part[known:]))
            at += len(part)
        if self._last is not None:
            self._outbox.put(self._last)
        self.credit(hub_has.credit)

    def _put(self, data: bytes) -> None:
        self._outbox.put(Frame(FrameKind.DATA, self._stream, self._sent, data))
        self._kept.append(data)
        self._sent += len(data)

    def _finish(self, kind: FrameKind, payload: bytes) -> None:
        self._last = Frame(kind, self._stream, self._sent, payload)
        self._outbox.put(self._last)

    def _forget(self, before: int) -> None:
        while self._kept and self._kept_from + len(self._kept[0]) <= before:
            self._kept_from += len(self._kept.popleft())

    async def _credited(self) -> int:
        """Wait for credit and return it; the stream's patience ends a wait that is too long."""
        while self.room <= 0:
            self._read_on = asyncio.get_running_loop().create_future()
            await self._read_on
        return self.room
