"""One request at an instance, and its answer as it comes."""

from __future__ import annotations

import asyncio
from typing import Protocol, Self

from compute_functions.contract import ContractError
from compute_functions.contract.frames import MAX_DATA, WINDOW
from compute_functions.contract.relay import AnswerEnd, AnswerHead, StreamState
from resource_server.adapters import engine_heads
from resource_server.adapters.relay import failures
from resource_server.adapters.relay.shares import Room
from resource_server.adapters.relay.upload import Upload
from resource_server.adapters.site_failures import contract_broken, interrupted
from resource_server.domain import errors
from resource_server.domain.catalog import Transport
from resource_server.domain.inference import Hops, StreamHead, answer_too_large

#: Credit is given when the reader has read so much (bytes).
CREDIT_STEP = WINDOW // 4


class StreamOwner(Protocol):
    """The link that a stream belongs to."""

    def credit(self, number: int, offset: int) -> None:
        """Let the relay send up to `offset`."""

    def cancel(self, number: int) -> None:
        """Have the relay stop, and forget the stream."""


class RelayStream:
    """A `ports.AnswerStream`; its link calls what is named `take_…`, and `fail`.

    A reader waits for the next piece for `silence_s` at the most. There is one reader.
    """

    def __init__(
        self, owner: StreamOwner, number: int, *, upload: Upload, cluster: str, silence_s: float
    ) -> None:
        self._owner = owner
        self._number = number
        self._cluster = cluster
        self._silence_s = silence_s
        self.upload = upload
        self._loop = asyncio.get_running_loop()
        self._began_at = self._ended_at = self._loop.time()
        self._head: StreamHead | None = None
        self._pieces: list[bytes] = []
        #: Bytes of the answer that came, and that the reader is done with.
        self._received = self._read = 0
        self._unread = 0
        self._end: AnswerEnd | None = None
        self._error: errors.HotnodeError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # What the reader asks

    @property
    def head(self) -> StreamHead:
        """How it began."""
        if self._head is None:
            raise RuntimeError("the answer has not begun")
        return self._head

    @property
    def hops(self) -> Hops:
        """Where the time went; nothing is known of it before the end."""
        if self._end is None:
            return Hops()
        site_s, engine_s = max(0.0, self._end.site_s), max(0.0, self._end.engine_s)
        return Hops(
            transport_s=max(0.0, self._ended_at - self._began_at - site_s),
            site_s=max(0.0, site_s - engine_s),
            engine_s=engine_s,
        )

    async def opened(self, within_s: float) -> None:
        """Wait for the head; raises why there will be none."""
        deadline = self._began_at + within_s
        while self._head is None:
            if self._error is not None:
                raise self._error
            await self._something(deadline)

    async def whole(self, within_s: float, *, most: int, room: Room) -> bytes:
        """Return the whole body; raises `AnswerTooLarge` if it is larger than `most`.

        What has come takes `room` meanwhile; raises `BackendUnavailable` if there is none.
        """
        deadline = self._began_at + within_s
        held = 0
        try:
            while self._end is None:
                if self._error is not None:
                    raise self._error
                if self._received > most:
                    raise answer_too_large(most)
                if not room.take(self._received - held):
                    raise failures.no_room(self._cluster)
                held = self._received
                self._grant(held)
                await self._something(deadline)
        finally:
            room.give_back(held)
        if self._received > most:
            raise answer_too_large(most)
        return b"".join(self._pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        # Whoever comes for the next piece is done with the last.
        self._grant(self._read + self._unread)
        self._unread = 0
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._end is not None:
                raise StopAsyncIteration
            await self._something(self._loop.time() + self._silence_s)
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._unread = len(piece)
        return piece

    async def aclose(self) -> None:
        """Stop the engine's work on it, unless the answer is whole."""
        if not self._over:
            self._owner.cancel(self._number)
            self.fail(interrupted(self._cluster, began=self._head is not None))
        self._pieces.clear()

    # What the link says

    @property
    def state(self) -> StreamState:
        """What has come of the answer, for a relay that goes on with it."""
        return StreamState(
            head=self._head is not None, received=self._received, credit=self.upload.credit
        )

    def take_head(self, head: AnswerHead) -> None:
        """Take the beginning of the answer."""
        if self._head is not None:
            raise ContractError("a second HEAD")
        self._head = StreamHead(
            status=head.status,
            content_type=engine_heads.content_type(head.headers),
            transport=Transport.RELAY.value,
            headers=engine_heads.passed_on(head.headers),
        )
        if engine_heads.is_final_status(head.status):
            self._wake()
            return
        self._owner.cancel(self._number)
        reason = f"an engine answered with status {head.status}"
        self._head = None
        self.fail(failures.ran(contract_broken(self._cluster, reason)))

    def take_data(self, offset: int, piece: bytes) -> None:
        """Take a part of the body; what came before, on a connection that was cut, is dropped."""
        missing = self._received - offset
        if missing < 0:
            raise ContractError(f"bytes are missing: {offset} comes after {self._received}")
        if self._head is None:
            raise ContractError("DATA before HEAD")
        if len(piece) > MAX_DATA:
            raise ContractError(f"DATA of {len(piece)} bytes")
        if offset + len(piece) > self.upload.credit:
            raise ContractError(f"DATA beyond the credit of {self.upload.credit}")
        if missing:
            piece = piece[missing:]
        if piece:
            self._pieces.append(piece)
            self._received += len(piece)
            self._wake()

    def take_end(self, length: int, end: AnswerEnd) -> None:
        """Take it that the answer is whole."""
        self._require_all(length)
        if self._head is None:
            raise ContractError("END before HEAD")
        self._end = end
        self._finish()

    def take_error(self, sent: int, error: errors.HotnodeError) -> None:
        """Take it that there will be no whole answer."""
        self._require_all(sent)
        self.fail(error if self._head is None else failures.ran(error))

    def fail(self, error: errors.HotnodeError) -> None:
        """Tell the reader, after what has come, that there is no more."""
        if not self._over:
            self._error = error
            self._finish()

    @property
    def began(self) -> bool:
        """Whether the answer has begun."""
        return self._head is not None

    # Inside

    @property
    def _over(self) -> bool:
        return self._end is not None or self._error is not None

    def _require_all(self, length: int) -> None:
        if length != self._received:
            raise ContractError(f"the answer has {length} bytes, and {self._received} came")

    def _finish(self) -> None:
        self._ended_at = self._loop.time()
        self.upload.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def _grant(self, read: int) -> None:
        """Let the relay send on, once the reader has read a good part of what it may send."""
        self._read = read
        if read + WINDOW - self.upload.credit >= CREDIT_STEP and not self._over:
            self.upload.credit = read + WINDOW
            self._owner.credit(self._number, self.upload.credit)

    async def _something(self, deadline: float) -> None:
        """Wait for the link to say something; at the deadline the stream fails."""
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._watch(deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _watch(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look_at_the_time)

    def _look_at_the_time(self) -> None:
        # One timer serves all waits of a stream: a timer for each piece would cost more than it.
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._watch(self._deadline)
            return
        self._owner.cancel(self._number)
        self.fail(failures.silent(self._cluster))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
