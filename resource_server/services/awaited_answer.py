"""An answer that comes in one piece, for a caller who wants a stream and may wait for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from resource_server.domain import errors
from resource_server.domain.inference import (
    Hops,
    InferenceAnswer,
    InferenceRequest,
    Late,
    StreamHead,
)
from resource_server.ports import AnswerStream, StreamMaker
from resource_server.services.whole_answer import is_event_stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """An answer on its way, to which `request` asked for a stream.

    `require_taken` raises if the engine refused the site's own key. Whoever leaves before it has
    come calls `outlive`; then `late` is told what became of it.
    """

    answer: asyncio.Task[InferenceAnswer]
    request: InferenceRequest
    require_taken: Callable[[int, str | None], None]
    outlive: Callable[[], None]
    late: Late

    async def leave(self) -> None:
        """Want it no more; what is at a site by now runs to its end, and is accounted for then."""
        self.outlive()
        if self.answer.done():
            self.late(None if self._failed() else self.answer.result())
            return
        self.answer.cancel()
        await asyncio.wait({self.answer})
        self._failed()

    def _failed(self) -> bool:
        """Tell whether there is no answer; asyncio complains of errors that nobody looks at."""
        return self.answer.cancelled() or self.answer.exception() is not None


async def awaited(coming: Coming, maker: StreamMaker, *, within_s: float) -> AnswerStream:
    """Return the answer as a stream; as one that begins without it if it takes longer.

    Raises what asking for it raises, if that is known within the time.
    """
    try:
        await asyncio.wait({coming.answer}, timeout=within_s)
    except asyncio.CancelledError:
        await coming.leave()
        raise
    if coming.answer.done():
        return maker.of(coming.answer.result(), coming.request)
    return AwaitedAnswer(coming, maker)


class AwaitedAnswer:
    """An `AnswerStream` that has begun before there was an answer: all that follows is events."""

    def __init__(self, coming: Coming, maker: StreamMaker) -> None:
        self._coming = coming
        self._maker = maker
        self._taken = False
        self._hops = Hops()
        self._body = self._read()

    @property
    def head(self) -> StreamHead:
        """How it began: with nothing but the promise of events."""
        return self._maker.waiting()

    @property
    def hops(self) -> Hops:
        """Where the time went, once the answer has come."""
        return self._hops

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the events; raises why there are none."""
        return self._body

    async def aclose(self) -> None:
        """Want it no more, unless it has come."""
        await self._body.aclose()
        if not self._taken:
            await self._coming.leave()

    async def _read(self) -> AsyncGenerator[bytes, None]:
        # Waited for and not awaited: a reader who leaves must not take it along.
        await asyncio.wait({self._coming.answer})
        self._taken = True
        answer = self._coming.answer.result()
        self._hops = answer.hops
        self._coming.require_taken(answer.status, answer.task_id)
        stream = self._maker.of(answer, self._coming.request)
        if is_event_stream(stream.head):
            async for part in stream:
                yield part
            return
        yield refusal(answer, self._maker, self._coming.request.path)


def refusal(answer: InferenceAnswer, maker: StreamMaker, path: str) -> bytes:
    """Return as an event an answer that came too late for its status; raises if it is none."""
    said = maker.refusal(answer, path)
    if said is None:
        raise _not_to_be_said(answer)
    return said


def _not_to_be_said(answer: InferenceAnswer) -> errors.HotnodeError:
    """Return the error of an answer that came too late for its status, and is no event."""
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"The engine gave an answer of status {answer.status} that cannot be streamed."
    )
    error.retry_after_s = None
    error.task_id = answer.task_id
    return error
