"""One answer that a site pushes: read from the site's POST no faster than its reader reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import aiohttp

from compute_functions.contract import ContractError, SiteFailure
from compute_functions.contract.frames import WINDOW, Frame, FrameKind
from compute_functions.contract.pushes import STREAM, FrameReader
from compute_functions.contract.relay import AnswerEnd, AnswerError, AnswerHead
from resource_server.adapters import engine_heads
from resource_server.adapters.pushed_streams.traffic import Outcome, PushTraffic
from resource_server.adapters.site_failures import contract_broken, interrupted, site_error
from resource_server.domain import errors


class PushedStream:
    """The pieces of the body, as an iterator; `began` is done when the head is there.

    If none comes, `began` raises why. Whoever has it closes it. Nothing is promised to two readers.
    """

    def __init__(
        self,
        cluster: str,
        *,
        silent_s: float,
        closed: Callable[[PushedStream], None],
        name: str,
        traffic: PushTraffic,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self._silent_s = silent_s
        self._closed = closed
        self._traffic = traffic
        #: How it ended, once it did.
        self.outcome = Outcome.NOT_OPENED
        self._loop = asyncio.get_running_loop()
        self.began: asyncio.Future[AnswerHead] = self._loop.create_future()
        self.end: AnswerEnd | None = None
        self._told = False
        self.ended_at = 0.0
        self._pieces: list[bytes] = []
        self._received = self._unread = 0
        self._error: errors.HotnodeError | None = None
        self._reading: asyncio.Task[None] | None = None
        self._something: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # The reader's side

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.end is not None:
                raise StopAsyncIteration
            self._something = self._loop.create_future()
            await self._something
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        _wake(self._room)
        return piece

    async def aclose(self) -> None:
        """Have the site hang up on its engine, unless the answer is whole."""
        left = Outcome.NOT_OPENED if self._reading is None else Outcome.LEFT
        self._fail(interrupted(self.cluster, began=_has_result(self.began)), left)
        self._pieces.clear()
        if self._reading is not None:
            self._reading.cancel()
        if not self.began.cancel() and not self.began.cancelled():
            self.began.exception()  # Its reader may have left before it came.
        self._closed(self)

    # The site's side

    async def receive(self, content: aiohttp.StreamReader) -> bool:
        """Read a POST's body; returns whether it came to its END or ERROR."""
        self._reading = asyncio.create_task(self._read(content), name=f"push {self.name}")
        try:
            await asyncio.wait({self._reading})
        finally:
            # Its connection may be gone, or the listener stops: then there is no more.
            self._reading.cancel()
            self._fail(interrupted(self.cluster, began=_has_result(self.began)), Outcome.CUT)
        if not self._reading.cancelled():
            self._reading.result()
        return self._told

    async def _read(self, content: aiohttp.StreamReader) -> None:
        reader = FrameReader()
        try:
            while not self._over:
                async with asyncio.timeout(self._silent_s):
                    data = await content.readany()
                if not data:
                    return
                for frame in reader.feed(data):
                    self._take(frame)
                await self._reader_has_room()
        except ContractError as problem:
            broken = contract_broken(self.cluster, f"a pushed answer: {problem}")
            self._fail(_ran(broken), Outcome.CUT)
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            # It was cut, which whoever called us says.
            return

    async def _reader_has_room(self) -> None:
        while self._unread >= WINDOW and not self._over:
            self._room = self._loop.create_future()
            await self._room

    def _take(self, frame: Frame) -> None:
        if frame.stream != STREAM or self._over:
            raise ContractError("a frame of another stream, or one after the end")
        if frame.kind is FrameKind.DATA:
            self._take_data(frame)
        elif frame.kind is FrameKind.HEAD:
            self._take_head(AnswerHead.from_payload(frame.payload))
        elif frame.offset != self._received:
            raise ContractError(f"{frame.offset} bytes were sent, and {self._received} came")
        elif frame.kind is FrameKind.END:
            self._take_end(AnswerEnd.from_payload(frame.payload))
        elif frame.kind is FrameKind.ERROR:
            self._take_error(AnswerError.from_payload(frame.payload))
        else:
            raise ContractError(f"{frame.kind.name} is not for a site to push")

    def _take_head(self, head: AnswerHead) -> None:
        if self.began.done():
            raise ContractError("a second HEAD")
        if not engine_heads.is_final_status(head.status):
            raise ContractError(f"an engine answered with status {head.status}")
        self.began.set_result(head)

    def _take_data(self, frame: Frame) -> None:
        if frame.offset != self._received:
            raise ContractError(f"bytes are missing: {frame.offset} after {self._received}")
        if not frame.payload:
            return  # The site is still there, no more.
        if not self.began.done():
            raise ContractError("DATA before HEAD")
        self._pieces.append(frame.payload)
        self._received += len(frame.payload)
        self._unread += len(frame.payload)
        self._traffic.received += len(frame.payload)
        _wake(self._something)

    def _take_end(self, end: AnswerEnd) -> None:
        if not self.began.done():
            raise ContractError("END before HEAD")
        self.end, self.ended_at, self._told = end, self._loop.time(), True
        self.outcome = Outcome.WHOLE
        _wake(self._something)

    def _take_error(self, error: AnswerError) -> None:
        self._told = True
        failure = SiteFailure(code=error.code, message=error.message)
        self._fail(_ran(site_error(self.cluster, failure)), Outcome.FAILED)

    @property
    def _over(self) -> bool:
        return self.end is not None or self._error is not None

    def _fail(self, error: errors.HotnodeError, outcome: Outcome) -> None:
        """Tell the reader, after what has come, that there is no more."""
        if self._over:
            return
        self._error, self.ended_at, self.outcome = error, self._loop.time(), outcome
        if not self.began.done():
            self.began.set_exception(error)
        _wake(self._something)
        _wake(self._room)


def _has_result(future: asyncio.Future[AnswerHead]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _ran(error: errors.HotnodeError) -> errors.HotnodeError:
    """Return the error of a request that may have run: nobody is invited to repeat it."""
    error.retry_after_s = None
    return error
