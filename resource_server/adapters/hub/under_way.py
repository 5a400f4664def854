"""One call that a hub carries for a web process, which may take it back."""

from __future__ import annotations

import asyncio

import structlog

from resource_server.adapters.hub.failures import failure_of, may_have_run
from resource_server.adapters.hub.messages import Call, Outcome
from resource_server.domain import errors
from resource_server.domain.inference import InferenceAnswer, Stopped
from resource_server.ports import InferenceBackend

log = structlog.get_logger()

#: So much longer than the caller's patience the answer to a call taken back is awaited (seconds).
MARGIN_S = 5.0


class CallUnderWay:
    """Asks the backend at once, and knows what came of it, also if the call was taken back."""

    def __init__(self, backend: InferenceBackend, call: Call) -> None:
        loop = asyncio.get_running_loop()
        self._late: asyncio.Future[InferenceAnswer | Stopped | None] = loop.create_future()
        self._patience_s = call.request.timeout_s + MARGIN_S
        self._task = loop.create_task(
            backend.infer(call.cluster, call.request, late=self._tell), name=f"hub {call.id}"
        )

    def take_back(self) -> None:
        """Let the backend drop the call if it has not left yet; nothing happens after the end."""
        if not self._task.done():
            self._task.add_done_callback(_look_at)
            self._task.cancel()

    async def outcome(self) -> Outcome:
        """Wait for the end; of a call that was taken back and did not leave, nothing comes."""
        await asyncio.wait({self._task})
        if self._task.cancelled():
            late = await self._late_answer()
            if isinstance(late, Stopped):
                return Outcome(stopped=True)
            return Outcome(answer=late)
        error = self._task.exception()
        if error is None:
            return Outcome(answer=self._task.result())
        if not isinstance(error, errors.HotnodeError):
            log.error("hub_call_failed", exc_info=error)
            error = may_have_run("The gateway failed. The request may have run.")
        return Outcome(failure=failure_of(error))

    async def _late_answer(self) -> InferenceAnswer | Stopped | None:
        await asyncio.wait({self._late}, timeout=self._patience_s)
        return self._late.result() if self._late.done() else None

    def _tell(self, answer: InferenceAnswer | Stopped | None) -> None:
        if not self._late.done():
            self._late.set_result(answer)


def _look_at(task: asyncio.Task[InferenceAnswer]) -> None:
    """Take note of a failure that may have nobody left to hear of it; else asyncio complains."""
    if not task.cancelled():
        task.exception()
