"""One call of an engine whose answer becomes the body of a POST, frame by frame, as it comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

import aiohttp

from compute_functions import carriage
from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import MAX_DATA, Frame, FrameKind, encoded
from compute_functions.contract.pushes import ALIVE_EVERY_S, STREAM
from compute_functions.contract.relay import AnswerEnd, AnswerError, AnswerHead
from compute_functions.engine_client import NEVER_SENT, Call, Engine, call_failed
from compute_functions.errors import EngineUnreachable

log = logging.getLogger("hotnode.push")

_EVENTS = "text/event-stream"
#: So many parts of an answer wait for the connection to the hub; then the engine waits.
_READ_AHEAD = 4
#: An engine, and what it is asked.
Way: TypeAlias = tuple[Engine, Call]


class PushedCall:
    """Asks the engine once the hub takes the first frame, and hangs up when nobody takes more.

    Of several `ways` the first counts that leads to an engine: nothing ran at those before it.
    `length` is how much of the answer was sent, `failure` why it has no end, `engine_s` how long
    the engine took.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        *,
        silence_s: float,
        started: float,
        alive_every_s: float = ALIVE_EVERY_S,
    ) -> None:
        self._ways = ways
        self._asked = ""
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
        except EngineUnreachable as error:
            last = self._unreached(error)
        except (aiohttp.ClientError, OSError) as error:
            last = self._error(FailureCode.ENGINE_BROKE_OFF, f"{self._asked} broke off: {error}")
        else:
            last = self._end(called)
        self.engine_s = time.monotonic() - called
        await self._queue.put(last)

    async def _carry(self) -> None:
        """Ask one after the other until one is reached; raises `EngineUnreachable` if none is."""
        unreached = EngineUnreachable("there is none")
        async with asyncio.timeout(self._ways[0][1].timeout_s) as patience:
            for engine, call in self._ways:
                self._asked = engine.endpoint
                try:
                    return await self._ask_one(engine, call, patience)
                except NEVER_SENT as error:
                    unreached = EngineUnreachable(str(call_failed(error, engine.endpoint)))
        raise unreached

    async def _ask_one(self, engine: Engine, call: Call, patience: asyncio.Timeout) -> None:
        async with engine.open(call, timeout_s=None) as response:
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

    def _unreached(self, error: EngineUnreachable) -> Frame:
        # Where an engine's node is gone it is as if none ran, until the site's agent replaces it.
        is_door = self._ways[-1][0].is_door
        code = FailureCode.MODEL_NOT_RUNNING if is_door else FailureCode.ENGINE_UNREACHABLE
        return self._error(code, f"the engine: {error}")

    def _error(self, code: FailureCode, message: str) -> Frame:
        self.failure = AnswerError(code=code, message=message)
        return Frame(FrameKind.ERROR, STREAM, self.length, self.failure.to_payload())
