"""Answer one OpenAI request: find its route, allow it, admit it, carry it, account for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from resource_server.domain import errors, routing
from resource_server.domain.catalog import Catalog
from resource_server.domain.dialects import DIALECTS
from resource_server.domain.identity import Person
from resource_server.domain.inference import (
    InferenceAnswer,
    InferenceRequest,
    Late,
    LateAnswer,
    Stopped,
)
from resource_server.domain.routing import Choice, Destination
from resource_server.ports import (
    AnswerStream,
    EventUsageReader,
    ImageSource,
    InferenceBackend,
    StreamMaker,
    UsageReader,
)
from resource_server.services import preparation
from resource_server.services.awaited_answer import AwaitedAnswer, Coming, awaited, refusal
from resource_server.services.carriage import Admitted, CompletionRequest, at
from resource_server.services.completion import Completion
from resource_server.services.events import EventReader, EventsUnderWay, reader_of
from resource_server.services.limits import Admission, Limits
from resource_server.services.open_completion import OpenCompletion
from resource_server.services.pending_completion import PendingCompletion
from resource_server.services.sessions import CacheSalts
from resource_server.services.site_board import SiteBoard
from resource_server.services.stream_options import usage_options
from resource_server.services.vigil import Tell
from resource_server.services.waiting import Waiting
from resource_server.services.whole_answer import early_failure, is_event_stream, read_whole

__all__ = [
    "Completion",
    "CompletionRequest",
    "Completions",
    "OpenCompletion",
    "PendingCompletion",
    "UsageReaders",
]

#: So long a stream's first event is awaited before its response begins (seconds): an engine that
#: fails early is still answered for with a status.
FIRST_EVENT_S = 10.0
_NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReaders:
    """Who understands what answers cost: whole ones, and the events of streams."""

    answer: UsageReader
    event: EventUsageReader


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An answer whose head has come, and who reads along on it."""

    answer: AnswerStream
    reader: EventReader


class Completions:
    """Serves every route whose body names a model and goes to its engine."""

    def __init__(  # noqa: PLR0913 - what a request meets on its way, each by its name
        self,
        catalog: Callable[[], Catalog],
        backend: InferenceBackend,
        *,
        limits: Limits,
        images: ImageSource,
        usage: UsageReaders,
        salts: CacheSalts,
        streams: StreamMaker,
        waiting: Waiting | None = None,
        observe_late: Callable[[LateAnswer], None] | None = None,
        first_event_s: float = FIRST_EVENT_S,
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._limits = limits
        self._images = images
        self._usage = usage
        self._salts = salts
        self._streams = streams
        self._waiting = waiting or Waiting(SiteBoard("alone"), catalog)
        self._observe_late = observe_late
        self._first_event_s = first_event_s

    async def complete(self, person: Person, request: CompletionRequest) -> Completion:
        """Return the engine's answer for a person, or raise a `HotnodeError`."""
        began_at = time.monotonic()
        choice = self._choose(person, request)
        async with self._admission(person, request, choice) as admission:
            admitted = await self._prepared(
                person, request, choice=choice, admission=admission, began_at=began_at
            )
            destination, answer, waited_s = await self._waiting.carried(admitted, choice, self._ask)
            usage = self._usage.answer(answer)
            admission.use(usage)
        return Completion(
            answer=answer,
            named=choice.named,
            destination=destination,
            usage=usage,
            standings=admission.standings,
            waited_s=waited_s,
        )

    async def stream(
        self, person: Person, request: CompletionRequest
    ) -> OpenCompletion | Completion | PendingCompletion:
        """Return the engine's answer as soon as it begins; in one piece if it is no stream.

        Of a model that has to be started first, what waits for it is returned at once.

        Raises a `HotnodeError` for what goes wrong before the first event, but waits for that event
        only for some seconds.
        """
        began_at = time.monotonic()
        preparation.require_streaming(request.route)
        choice = self._choose(person, request)
        async with AsyncExitStack() as stack:
            admission = await stack.enter_async_context(self._admission(person, request, choice))
            admitted = await self._prepared(
                person, request, choice=choice, admission=admission, began_at=began_at
            )
            found = await self._waiting.tried(admitted, choice, self._open)
            if found is None:
                return await self._pending(admitted, choice, stack)
            return await self._streamed(admitted, *found, stack=stack)

    async def _streamed(
        self, admitted: Admitted, destination: Destination, opened: _Opened, stack: AsyncExitStack
    ) -> OpenCompletion | Completion:
        """Return an answer whose head has come; `stack` holds what it holds from now on."""
        stack.push_async_callback(opened.answer.aclose)
        with at(destination):
            if not is_event_stream(opened.answer.head):
                return await self._whole(admitted, destination, opened.answer)
            return await self._begin(admitted, destination, opened=opened, stack=stack)

    async def _pending(
        self, admitted: Admitted, choice: Choice, stack: AsyncExitStack
    ) -> PendingCompletion:
        """Begin to wait; raises why nobody should, while that is still a status."""
        vigil = await stack.enter_async_context(self._waiting.vigil(admitted, choice, streams=True))
        held = stack.pop_all()

        async def opened(tell: Tell) -> OpenCompletion | Completion:
            found = await vigil.carried(self._open, tell)
            return await self._streamed(vigil.admitted, *found, stack=held)

        return PendingCompletion(
            named=choice.named,
            dialect=DIALECTS[admitted.request.route],
            standings=admitted.admission.standings,
            vigil=vigil,
            opened=opened,
            refusal=lambda answer: refusal(answer, self._streams, f"/v1/{admitted.request.route}"),
            stack=held,
        )

    def _choose(self, person: Person, request: CompletionRequest) -> Choice:
        choice = routing.choose(self._catalog(), person, request.base, request.body.model)
        preparation.require_route(choice.named.model, request.route)
        return choice

    def _admission(self, person: Person, request: CompletionRequest, choice: Choice) -> Admission:
        return self._limits.admitted(person, choice.named.model, request_id=request.request_id)

    async def _prepared(
        self,
        person: Person,
        request: CompletionRequest,
        *,
        choice: Choice,
        admission: Admission,
        began_at: float,
    ) -> Admitted:
        body = preparation.under_its_id(request.body, choice.named)
        if choice.named.model.modalities:
            body = await self._images.inlined(body)
        return Admitted(
            person=person,
            request=request,
            named=choice.named,
            body=body,
            admission=admission,
            began_at=began_at,
        )

    async def _ask(self, admitted: Admitted, destination: Destination) -> InferenceAnswer:
        """Return a place's answer in one piece."""
        outgoing = admitted.outgoing(destination, self._extra(admitted, destination))
        try:
            answer = await self._backend.infer(
                destination.cluster, outgoing, late=self._late(admitted, destination)
            )
        except asyncio.CancelledError:
            # The engine may be at work for nobody: the place stays taken until that is over.
            admitted.admission.outlive()
            raise
        admitted.require_taken(answer.status, answer.task_id)
        return answer

    async def _open(self, admitted: Admitted, destination: Destination) -> _Opened:
        """Return a place's answer as soon as its head is there."""
        extra = self._extra(admitted, destination)
        route = admitted.request.route
        options = usage_options(admitted.body, route, destination.framework)
        outgoing = admitted.outgoing(destination, {**extra, **options.values})
        try:
            answer = await self._backend.stream(destination.cluster, outgoing)
        except errors.StreamComesWhole:
            answer = await self._awaited(admitted, destination, outgoing)
        return _Opened(
            answer=answer, reader=reader_of(DIALECTS[route], options.view, self._usage.event)
        )

    async def _awaited(
        self, admitted: Admitted, destination: Destination, outgoing: InferenceRequest
    ) -> AnswerStream:
        """Return as a stream what comes in one piece, if need be before it has come."""
        asked = replace(self._streams.asking(outgoing), timeout_s=admitted.patience_s(destination))
        late = self._late(admitted, destination)
        answer = self._backend.infer(destination.cluster, asked, late=late)
        coming = Coming(
            answer=asyncio.create_task(answer, name="whole answer"),
            request=outgoing,
            require_taken=admitted.require_taken,
            outlive=admitted.admission.outlive,
            late=late,
        )
        return await awaited(coming, self._streams, within_s=self._first_event_s)

    def _extra(self, admitted: Admitted, destination: Destination) -> Mapping[str, object]:
        """Return what is added to the body for a place, or raise why it cannot go there."""
        preparation.require_open(destination.cluster)
        route, framework = admitted.request.route, destination.framework
        # What the caller sent; an alias's own parameters are the operators' choice.
        preparation.require_fields(admitted.request.body, route, framework)
        if framework.cache_salt and route in preparation.SALTED_ROUTES:
            return {"cache_salt": self._salts.of(admitted.person)}
        return _NOTHING

    async def _whole(
        self, admitted: Admitted, destination: Destination, answer: AnswerStream
    ) -> Completion:
        admitted.require_taken(answer.head.status, answer.head.task_id)
        whole = await read_whole(answer, within_s=admitted.patience_s(destination))
        return self._completion(admitted, destination, whole)

    async def _begin(
        self,
        admitted: Admitted,
        destination: Destination,
        *,
        opened: _Opened,
        stack: AsyncExitStack,
    ) -> OpenCompletion | Completion:
        """Wait for the first event, if it does not take long; it may say that the engine failed."""
        reader = opened.reader
        events = EventsUnderWay(opened.answer, reader)
        stack.callback(lambda: admitted.admission.use(reader.usage()))
        stack.push_async_callback(events.aclose)
        # Of a stream that has begun without its answer the first event was waited for.
        waited = isinstance(opened.answer, AwaitedAnswer)
        begun = await events.begin(within_s=0.0 if waited else self._first_event_s)
        if reader.error is not None and reader.count == 1:
            failure = early_failure(opened.answer, reader.error)
            admitted.require_taken(failure.status, failure.task_id)
            return self._completion(admitted, destination, failure)
        return OpenCompletion(
            named=admitted.named,
            destination=destination,
            dialect=DIALECTS[admitted.request.route],
            standings=admitted.admission.standings,
            begun=begun,
            answer=opened.answer,
            events=events,
            stack=stack.pop_all(),
        )

    def _completion(
        self, admitted: Admitted, destination: Destination, answer: InferenceAnswer
    ) -> Completion:
        usage = self._usage.answer(answer)
        admitted.admission.use(usage)
        return Completion(
            answer=answer,
            named=admitted.named,
            destination=destination,
            usage=usage,
            standings=admitted.admission.standings,
        )

    def _late(self, admitted: Admitted, destination: Destination) -> Late:
        """Return what accounts for a request whose caller has left."""

        def late(came: InferenceAnswer | Stopped | None) -> None:
            stopped = isinstance(came, Stopped)
            answer = None if isinstance(came, Stopped) else came
            usage = self._usage.answer(answer) if answer else None
            admitted.admission.use(usage)
            admitted.admission.end()
            if self._observe_late is not None:
                seen = admitted.late_answer(destination, answer, usage)
                self._observe_late(replace(seen, stopped=stopped))

        return late
