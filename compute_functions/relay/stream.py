"""One request that came on a link: gathers its body, calls the engine, passes the answer on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from enum import Enum

from compute_functions import carriage
from compute_functions.contract.failures import FailureCode
from compute_functions.contract.relay import AnswerEnd, AnswerError, AnswerHead, RelayRequest
from compute_functions.errors import CallFailed, EngineUnreachable, ProtocolBroken
from compute_functions.relay.answer import Answer
from compute_functions.relay.engine_calls import EVENTS, EngineCall, EngineCalls
from compute_functions.relay.patience import Patience

log = logging.getLogger("hotnode.relay")


class _Awaited(Enum):
    """What a stream waits for, with what is told to the hub when it does not come in time."""

    BODY = AnswerError(code=FailureCode.EXPIRED, message="the request's body did not come in time")
    ENGINE = AnswerError(
        code=FailureCode.ENGINE_TIMEOUT, message="the engine did not answer in time"
    )
    NEXT_PART = AnswerError(
        code=FailureCode.ENGINE_TIMEOUT, message="the engine fell silent within its answer"
    )
    READER = AnswerError(
        code=FailureCode.EXPIRED, message="the answer's reader did not read on in time"
    )


class Stream:
    """A request from its first frame until its answer's last one is sent.

    `path` is the engine's own. `running` holds its task while there is one; `ended` is called once,
    when nothing of it runs any more.
    """

    def __init__(
        self,
        request: RelayRequest,
        answer: Answer,
        *,
        path: str,
        calls: EngineCalls,
        running: set[asyncio.Task[None]],
        ended: Callable[[], None],
    ) -> None:
        self.answer = answer
        self.received = 0
        self._request = request
        self._path = path
        self._calls = calls
        self._running = running
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._begun = time.monotonic()
        self._body: list[bytes] = []
        self._awaited = _Awaited.BODY
        self._late = False
        self._patience = Patience(self._out_of_time)
        self._patience.expect(request.timeout_s)
        self._start_if_whole()

    @property
    def request_id(self) -> str:
        """The id that the gateway gave to this attempt."""
        return self._request.request_id

    def take(self, offset: int, data: bytes) -> None:
        """Take a part of the body; what has come before is dropped, a gap is `ProtocolBroken`."""
        if offset > self.received or offset + len(data) > self._request.body_bytes:
            raise ProtocolBroken(f"a part of a body at {offset}, where {self.received} have come")
        fresh = data[self.received - offset :]
        # Counted also when it is too late for it: the hub sends on until it has heard that.
        self.received += len(fresh)
        if fresh and not self.answer.over:
            self._body.append(fresh)
            self._start_if_whole()

    def cancel(self) -> None:
        """Hang up on the engine, and say no more."""
        if self._task is not None:
            self._task.cancel()
        elif not self.answer.over:
            self._finish()

    def _start_if_whole(self) -> None:
        if self.received == self._request.body_bytes:
            # Time begins anew: only now has the engine something to do.
            self._await(_Awaited.ENGINE, self._request.timeout_s)
            self._task = asyncio.create_task(self._run())
            self._running.add(self._task)
            self._task.add_done_callback(self._done)

    def _await(self, what: _Awaited, within_s: float) -> None:
        self._awaited = what
        self._patience.expect(within_s)

    def _out_of_time(self) -> None:
        if self._task is None:
            self.answer.fail(self._awaited.value)
            self._finish()
        else:
            self._late = True
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._carry()
        except asyncio.CancelledError:
            if not self._late:
                raise
            self.answer.fail(self._awaited.value)
        except CallFailed as error:
            self.answer.fail(self._broken(error))

    async def _carry(self) -> None:
        headers = carriage.request_headers(self._request.headers, self._request.request_id)
        called = time.monotonic()
        call = self._calls.call(self._path, headers=headers, body=b"".join(self._body))
        self._body.clear()  # The call holds it until the engine has it; it may be large.
        async with call as response:
            self.answer.begin(
                AnswerHead(
                    status=response.status, headers=carriage.response_headers(response.headers)
                )
            )
            await self._pass_on(response)
        now = time.monotonic()
        self.answer.end(AnswerEnd(engine_s=now - called, site_s=now - self._begun))

    async def _pass_on(self, response: EngineCall) -> None:
        answer = self.answer
        events = response.headers.get("content-type", "").startswith(EVENTS)
        while True:
            if events:
                self._await(_Awaited.NEXT_PART, self._request.silence_s)
            data = await response.read()
            if not data:
                return
            if len(data) <= answer.room:
                await answer.write(data)
            else:
                await self._write_slowly(data)

    async def _write_slowly(self, data: bytes) -> None:
        """Wait for the reader; that time is not the engine's."""
        awaited, left = self._awaited, self._patience.left
        self._await(_Awaited.READER, carriage.MAX_TIMEOUT_S)
        await self.answer.write(data)
        self._await(awaited, left)

    def _broken(self, error: CallFailed) -> AnswerError:
        if isinstance(error, EngineUnreachable) and not self.answer.begun:
            return AnswerError(code=FailureCode.ENGINE_UNREACHABLE, message=f"the engine: {error}")
        return AnswerError(
            code=FailureCode.ENGINE_BROKE_OFF, message=f"the engine broke off: {error}"
        )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request_failed id=%s", self.request_id, exc_info=error)
            self.answer.fail(AnswerError(code=FailureCode.SITE_FAILED, message="the relay failed"))
        self._finish()

    def _finish(self) -> None:
        self._patience.end()
        self._body.clear()
        self._ended()
