"""Answer one OpenAI request: find its route, allow it, admit it, carry it, account for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from resource_server.domain import routing
from resource_server.domain.catalog import Catalog, NamedModel
from resource_server.domain.dialects import DIALECTS
from resource_server.domain.identity import Person
from resource_server.domain.inference import InferenceAnswer, Late, LateAnswer, Usage
from resource_server.domain.limits import Standing
from resource_server.domain.routing import Choice, Destination
from resource_server.ports import (
    AnswerStream,
    EventUsageReader,
    ImageSource,
    InferenceBackend,
    UsageReader,
)
from resource_server.services import preparation
from resource_server.services.carriage import Admitted, CompletionRequest, at, carry
from resource_server.services.events import EventReader, EventsUnderWay, reader_of
from resource_server.services.limits import Admission, Limits
from resource_server.services.open_completion import OpenCompletion
from resource_server.services.sessions import CacheSalts
from resource_server.services.stream_options import usage_options
from resource_server.services.whole_answer import early_failure, is_event_stream, read_whole

__all__ = ["Completion", "CompletionRequest", "Completions", "OpenCompletion", "UsageReaders"]

#: So long a stream's first event is awaited before its response begins (seconds): an engine that
#: fails early is still answered for with a status.
FIRST_EVENT_S = 10.0
_NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The engine's answer, where it came from, what it cost, and what the caller has left."""

    answer: InferenceAnswer
    named: NamedModel
    destination: Destination
    usage: Usage | None
    standings: tuple[Standing, ...]


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
        observe_late: Callable[[LateAnswer], None] | None = None,
        first_event_s: float = FIRST_EVENT_S,
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._limits = limits
        self._images = images
        self._usage = usage
        self._salts = salts
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
            destination, answer = await carry(admitted, choice.destinations, self._ask)
            usage = self._usage.answer(answer)
            admission.use(usage)
        return Completion(
            answer=answer,
            named=choice.named,
            destination=destination,
            usage=usage,
            standings=admission.standings,
        )

    async def stream(
        self, person: Person, request: CompletionRequest
    ) -> OpenCompletion | Completion:
        """Return the engine's answer as soon as it begins; in one piece if it is no stream.

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
            destination, opened = await carry(admitted, choice.destinations, self._open)
            stack.push_async_callback(opened.answer.aclose)
            with at(destination):
                if not is_event_stream(opened.answer.head):
                    return await self._whole(admitted, destination, opened.answer)
                return await self._begin(admitted, destination, opened=opened, stack=stack)

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
        answer = await self._backend.stream(
            destination.cluster, admitted.outgoing(destination, {**extra, **options.values})
        )
        return _Opened(
            answer=answer, reader=reader_of(DIALECTS[route], options.view, self._usage.event)
        )

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
        begun = await events.begin(within_s=self._first_event_s)
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

        def late(answer: InferenceAnswer | None) -> None:
            usage = self._usage.answer(answer) if answer else None
            admitted.admission.use(usage)
            admitted.admission.end()
            if self._observe_late is not None:
                self._observe_late(admitted.late_answer(destination, answer, usage))

        return late
