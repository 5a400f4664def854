"""A request that was let in, on its way to one place after the other."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from resource_server.domain import errors
from resource_server.domain.catalog import NamedModel, Transport
from resource_server.domain.failover import Failover
from resource_server.domain.identity import Person
from resource_server.domain.inference import (
    InferenceAnswer,
    InferenceRequest,
    LateAnswer,
    Usage,
)
from resource_server.domain.routing import Base, Destination
from resource_server.ports import RequestBody
from resource_server.services.limits import Admission
from resource_server.services.sessions import affinity_of

T = TypeVar("T")

#: An engine checks the site's key alone, never the caller's token: these are not the caller's.
ENGINE_REFUSES_US = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What a caller asks. `route` is the path below `/v1/`, as `chat/completions`.

    `wait_s` is for how long they wait for a model that is started for them; None leaves it to us.
    """

    request_id: str
    base: Base
    route: str
    body: RequestBody
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that was let in, ready to be carried; `body` is what engines get of it."""

    person: Person
    request: CompletionRequest
    named: NamedModel
    body: RequestBody
    admission: Admission
    #: When it came, by the monotonic clock.
    began_at: float

    def patience_s(self, destination: Destination) -> float:
        """Return what is left of a caller's patience, which began with the request."""
        return destination.cluster.request_timeout_s - (time.monotonic() - self.began_at)

    def outgoing(self, destination: Destination, extra: Mapping[str, object]) -> InferenceRequest:
        """Return the request for one place, with `extra` fields set in its body."""
        request = self.request
        body = self.body.replaced(extra) if extra else self.body
        return InferenceRequest(
            request_id=request.request_id,
            framework=destination.framework.name,
            model=self.named.model.id,
            path=f"/v1/{request.route}",
            body=body.content,
            timeout_s=self.patience_s(destination),
            headers={**request.headers, "content-type": body.content_type},
            affinity=self._affinity(destination),
        )

    def _affinity(self, destination: Destination) -> str:
        """Return what keeps a session on one instance, where there is a choice of instances."""
        if Transport.RELAY not in destination.cluster.transports:
            return ""
        return affinity_of(self.person, self.body)

    def late_answer(
        self, destination: Destination, answer: InferenceAnswer | None, usage: Usage | None
    ) -> LateAnswer:
        """Return what came of the request after its caller had left."""
        return LateAnswer(
            request_id=self.request.request_id,
            cluster=destination.cluster.name,
            framework=destination.framework.name,
            model=self.named.model.id,
            operation=self.request.route,
            answer=answer,
            usage=usage,
        )

    def require_taken(self, status: int, task_id: str | None) -> None:
        """Raise `BackendUnavailable` if the engine refused the site's own key."""
        if status in ENGINE_REFUSES_US:
            error = errors.BackendUnavailable(
                f"The engine of '{self.named.model.id}' refused the site's own key. "
                "The operators must act."
            )
            error.task_id = task_id
            raise error


async def carry(
    admitted: Admitted,
    destinations: tuple[Destination, ...],
    ask: Callable[[Admitted, Destination], Awaitable[T]],
) -> tuple[Destination, T]:
    """Ask one place after the other, as long as a failure says that nothing ran.

    Once also if the instance was lost before it answered. All of them together have the patience
    that one would have.
    """
    failover = Failover()
    left = list(destinations)
    while True:
        destination = left.pop(0)
        try:
            with at(destination):
                return destination, await ask(admitted, destination)
        except errors.UpstreamError as error:
            failover.judge(error, others=bool(left) and admitted.patience_s(left[-1]) > 0)


class at:  # noqa: N801 - reads as a word of the statement `with`
    """Lets errors that leave the block know at which place they happened."""

    __slots__ = ("_destination",)

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, errors.HotnodeError):
            place = self._destination
            error.place = (place.cluster.name, place.framework.name)
