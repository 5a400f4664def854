"""Answer one OpenAI request: find its route, allow it, admit it, carry it, account for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from resource_server.domain import errors, routing
from resource_server.domain.catalog import Catalog, NamedModel
from resource_server.domain.identity import Person
from resource_server.domain.inference import (
    InferenceAnswer,
    InferenceRequest,
    Late,
    LateAnswer,
    Usage,
)
from resource_server.domain.limits import Standing
from resource_server.domain.routing import Base, Destination
from resource_server.ports import ImageSource, InferenceBackend, RequestBody, UsageReader
from resource_server.services import preparation
from resource_server.services.limits import Admission, Limits

#: An engine checks the site's key alone, never the caller's token: these are not the caller's.
ENGINE_REFUSES_US = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What a caller asks. `route` is the path below `/v1/`, as `chat/completions`."""

    request_id: str
    base: Base
    route: str
    body: RequestBody
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The engine's answer, where it came from, what it cost, and what the caller has left."""

    answer: InferenceAnswer
    named: NamedModel
    destination: Destination
    usage: Usage | None
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    """A request that was let in, ready to be carried."""

    request: CompletionRequest
    named: NamedModel
    body: RequestBody
    admission: Admission
    #: When it was let in, by the monotonic clock.
    began_at: float

    def left_s(self, patience_s: float) -> float:
        """Return what is left of a patience that began with the request."""
        return patience_s - (time.monotonic() - self.began_at)


class Completions:
    """Serves every route whose body names a model and goes to its engine."""

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        backend: InferenceBackend,
        *,
        limits: Limits,
        images: ImageSource,
        read_usage: UsageReader,
        observe_late: Callable[[LateAnswer], None] | None = None,
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._limits = limits
        self._images = images
        self._read_usage = read_usage
        self._observe_late = observe_late

    async def complete(self, person: Person, request: CompletionRequest) -> Completion:
        """Return the engine's answer for a person, or raise a `HotnodeError`."""
        began_at = time.monotonic()
        choice = routing.choose(self._catalog(), person, request.base, request.body.model)
        model = choice.named.model
        preparation.require_route(model, request.route)
        preparation.require_whole_answer(choice, request.body)
        async with self._limits.admitted(person, model, request_id=request.request_id) as admission:
            body = preparation.under_its_id(request.body, choice.named)
            if model.modalities:
                body = await self._images.inlined(body)
            admitted = _Admitted(
                request=request,
                named=choice.named,
                body=body,
                admission=admission,
                began_at=began_at,
            )
            destination, answer = await self._carry(admitted, choice.destinations)
            usage = self._read_usage(answer)
            admission.use(usage)
        return Completion(
            answer=answer,
            named=choice.named,
            destination=destination,
            usage=usage,
            standings=admission.standings,
        )

    async def _carry(
        self, admitted: _Admitted, destinations: tuple[Destination, ...]
    ) -> tuple[Destination, InferenceAnswer]:
        """Try one place after the other, as long as a failure says that nothing ran.

        All of them together have the patience that one would have.
        """
        *others, last = destinations
        for destination in others:
            try:
                return destination, await self._ask(admitted, destination)
            except errors.UpstreamError as error:
                if error.retry_after_s is None or _patience_s(admitted, last) <= 0:
                    raise
        return last, await self._ask(admitted, last)

    async def _ask(self, admitted: _Admitted, destination: Destination) -> InferenceAnswer:
        try:
            return await self._ask_there(admitted, destination)
        except errors.HotnodeError as error:
            error.place = (destination.cluster.name, destination.framework.name)
            raise

    async def _ask_there(self, admitted: _Admitted, destination: Destination) -> InferenceAnswer:
        preparation.require_open(destination.cluster)
        # What the caller sent; an alias's own parameters are the operators' choice.
        preparation.require_fields(
            admitted.request.body, admitted.request.route, destination.framework
        )
        try:
            answer = await self._backend.infer(
                destination.cluster,
                _outgoing(admitted, destination),
                late=self._late(admitted, destination),
            )
        except asyncio.CancelledError:
            # The engine may be at work for nobody: the place stays taken until that is over.
            admitted.admission.outlive()
            raise
        if answer.status in ENGINE_REFUSES_US:
            raise _site_key_refused(admitted.named, answer)
        return answer

    def _late(self, admitted: _Admitted, destination: Destination) -> Late:
        """Return what accounts for a request whose caller has left."""

        def late(answer: InferenceAnswer | None) -> None:
            usage = self._read_usage(answer) if answer else None
            admitted.admission.use(usage)
            admitted.admission.end()
            if self._observe_late is not None:
                self._observe_late(_late_answer(admitted, destination, answer, usage))

        return late


def _late_answer(
    admitted: _Admitted,
    destination: Destination,
    answer: InferenceAnswer | None,
    usage: Usage | None,
) -> LateAnswer:
    return LateAnswer(
        request_id=admitted.request.request_id,
        cluster=destination.cluster.name,
        framework=destination.framework.name,
        model=admitted.named.model.id,
        operation=admitted.request.route,
        answer=answer,
        usage=usage,
    )


def _patience_s(admitted: _Admitted, destination: Destination) -> float:
    return admitted.left_s(destination.cluster.request_timeout_s)


def _site_key_refused(named: NamedModel, answer: InferenceAnswer) -> errors.BackendUnavailable:
    error = errors.BackendUnavailable(
        f"The engine of '{named.model.id}' refused the site's own key. The operators must act."
    )
    error.task_id = answer.task_id
    return error


def _outgoing(admitted: _Admitted, destination: Destination) -> InferenceRequest:
    request, body = admitted.request, admitted.body
    return InferenceRequest(
        request_id=request.request_id,
        framework=destination.framework.name,
        model=admitted.named.model.id,
        path=f"/v1/{request.route}",
        body=body.content,
        timeout_s=_patience_s(admitted, destination),
        headers={**request.headers, "content-type": body.content_type},
    )
