"""The hub as a backend: what this process is asked for, the hub does, with one budget for all."""

from __future__ import annotations

import asyncio
import uuid
from types import TracebackType
from typing import Self

import structlog

from resource_server.adapters.deserted import Deserted
from resource_server.adapters.hub import messages
from resource_server.adapters.hub.connection import HubConnection
from resource_server.adapters.hub.failures import no_answer
from resource_server.adapters.hub.messages import Call, Outcome
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Late, Stopped
from resource_server.ports import AnswerStream

log = structlog.get_logger()

#: The hub keeps the caller's time; this much longer it is given to say so (seconds).
MARGIN_S = 15.0
#: A call that the hub does not know yet is still on its way there (seconds).
ASK_AGAIN_S = 0.5
#: Calls whose callers have left and whose answers are still counted, at the most.
MOST_LATE = 2000


class HubBackend:
    """Carries requests to clusters through the hub, inside an `async with` block."""

    def __init__(self, connection: HubConnection, *, most_late: int = MOST_LATE) -> None:
        self._connection = connection
        self._most_late = most_late
        self._late = Deserted()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give up the answers that nobody but the accounts wait for."""
        await self._late.close()

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises."""
        call = Call(id=uuid.uuid4().hex, cluster=cluster, request=request)
        exchange = asyncio.create_task(
            self._connection.ask(messages.INFER, call, within_s=request.timeout_s + MARGIN_S),
            name=f"hub {request.request_id}",
        )
        try:
            # Shielded: what the hub says of a request matters also when its caller has left.
            outcome = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            self._see_off(call, exchange, late)
            raise
        if outcome.answer is None:
            raise no_answer()
        return outcome.answer

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Return the engine's answer as soon as its head is there; see the port."""
        call = Call(id=uuid.uuid4().hex, cluster=cluster, request=request)
        return await self._connection.open_stream(call, within_s=request.timeout_s + MARGIN_S)

    def _see_off(self, call: Call, exchange: asyncio.Task[Outcome], late: Late | None) -> None:
        """Go on without the caller, if somebody wants to hear of it and there is room."""
        if late is None:
            exchange.cancel()  # The hub sees that we hang up.
        elif len(self._late) >= self._most_late:
            log.warning("hub_late_answers_not_counted", calls=len(self._late))
            exchange.cancel()
            late(None)
        else:
            self._late.start(self._finish(call, exchange, late))

    async def _finish(self, call: Call, exchange: asyncio.Task[Outcome], late: Late) -> None:
        answer: InferenceAnswer | Stopped | None = None
        try:
            await self._take_back(call, exchange)
            outcome = await exchange
            answer = Stopped.CANCELLED if outcome.stopped else outcome.answer
        except errors.HotnodeError:
            # It failed, as the hub's log says; to the accounts it is a request without an answer.
            pass
        finally:
            exchange.cancel()
            late(answer)

    async def _take_back(self, call: Call, exchange: asyncio.Task[Outcome]) -> None:
        """Have the hub drop the call; returns once it knows of that, or the call has ended."""
        while not exchange.done():
            if await self._connection.cancel(call.id):
                return
            await asyncio.wait({exchange}, timeout=ASK_AGAIN_S)
