"""One call of an engine whose answer becomes the body of a POST, frame by frame, as it comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator

import aiohttp

from compute_functions import carriage
from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import MAX_DATA, Frame, FrameKind, encoded
from compute_functions.contract.pushes import ALIVE_EVERY_S, STREAM
from compute_functions.contract.relay import AnswerEnd, AnswerError, AnswerHead
from compute_functions.engine_client import Call, Engine, call_failed
from compute_functions.errors import EngineUnreachable

log = logging.getLogger("hotnode.push")

_EVENTS = "text/event-stream"
#: So many parts of an answer wait for the connection to the hub; then the engine waits.
_READ_AHEAD = 4


class PushedCall:
    """Asks the engine once the hub takes the first frame, and hangs up when nobody takes more.

    `length` is how much of the answer was sent, `failure` why it has no end, `engine_s` how long
    the engine took.
    """

    def __init__(
        self,
        engine: Engine,
        call: Call,
        *,
        silence_s: float,
        started: float,
        alive_every_s: float = ALIVE_EVERY_S,
    ) -> None:
        self._engine = engine
        self._call = call
        self._silence_s = silence_s
        self._started = started
        self._alive_every_s = alive_every_s
        self._handed_over = 0
        self._queue: asyncio.Queue[Frame] = asyncio.Queue(_READ_AHEAD)
        self._begun = False
        self.called = False
        self.over = False
        self.length = 0
        self.engine_s = 0.0
        self.failure: AnswerError | None = None

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the frames, and one without bytes whenever the engine is silent for long."""
        self.called = True
        asking = asyncio.create_task(self._ask(), name="engine")
        try:
            while not self.over:
                frame = await self._next(asking)
                self.over = frame.kind in (FrameKind.END, FrameKind.ERROR)
                if frame.kind is FrameKind.DATA:
                    self._handed_over += len(frame.payload)
                yield encoded(frame)
        finally:
            asking.cancel()
            await asyncio.wait({asking})
            if not asking.cancelled() and (error := asking.exception()) is not None:
                log.error("push_failed", exc_info=error)

    async def _next(self, asking: asyncio.Task[None]) -> Frame:
        try:
            async with asyncio.timeout(self._alive_every_s):
                return await self._queue.get()
        except TimeoutError:
            if asking.done() and self._queue.empty():
                # It puts an end on every way out; whatever broke that must not look like silence.
                return self._error(FailureCode.SITE_FAILED, "the push failed")
            # Not `length`: a part may have come within this very moment, and is behind this frame.
            return Frame(FrameKind.DATA, STREAM, self._handed_over)

    async def _ask(self) -> None:
        called = time.monotonic()
        try:
            await self._carry()
        except TimeoutError:
            what = "fell silent within its answer" if self._begun else "did not answer in time"
            last = self._error(FailureCode.ENGINE_TIMEOUT, f"the engine {what}")
        except (aiohttp.ClientError, OSError) as error:
            last = self._broken(error)
        else:
            last = self._end(called)
        self.engine_s = time.monotonic() - called
        await self._queue.put(last)

    async def _carry(self) -> None:
        async with asyncio.timeout(self._call.timeout_s) as patience:
            async with self._engine.open(self._call, timeout_s=None) as response:
                head = AnswerHead(
                    status=response.status, headers=carriage.response_headers(response.headers)
                )
                self._begun = True
                await self._queue.put(Frame(FrameKind.HEAD, STREAM, 0, head.to_payload()))
                await self._pass_on(response, patience)

    async def _pass_on(self, response: aiohttp.ClientResponse, patience: asyncio.Timeout) -> None:
        clock = asyncio.get_running_loop().time
        events = response.headers.get("content-type", "").startswith(_EVENTS)
        while True:
            if events:
                patience.reschedule(clock() + self._silence_s)
            data = await response.content.readany()
            if not data:
                return
            # The hub's reader may take its time; that is not the engine's.
            left = (patience.when() or 0.0) - clock()
            patience.reschedule(clock() + carriage.MAX_TIMEOUT_S)
            await self._put(data)
            patience.reschedule(clock() + left)

    async def _put(self, data: bytes) -> None:
        for at in range(0, len(data), MAX_DATA):
            piece = data[at : at + MAX_DATA]
            await self._queue.put(Frame(FrameKind.DATA, STREAM, self.length, piece))
            self.length += len(piece)

    def _end(self, called: float) -> Frame:
        now = time.monotonic()
        end = AnswerEnd(engine_s=now - called, site_s=now - self._started)
        return Frame(FrameKind.END, STREAM, self.length, end.to_payload())

    def _broken(self, error: Exception) -> Frame:
        failed = call_failed(error, self._engine.endpoint)
        if isinstance(failed, EngineUnreachable):
            return self._error(FailureCode.ENGINE_UNREACHABLE, f"the engine: {failed}")
        return self._error(FailureCode.ENGINE_BROKE_OFF, f"the engine broke off: {failed}")

    def _error(self, code: FailureCode, message: str) -> Frame:
        self.failure = AnswerError(code=code, message=message)
        return Frame(FrameKind.ERROR, STREAM, self.length, self.failure.to_payload())
