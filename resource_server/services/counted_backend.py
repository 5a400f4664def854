"""A backend that counts the requests that it carries, as demand for their models."""

from __future__ import annotations

from collections.abc import AsyncIterator

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import (
    Hops,
    InferenceAnswer,
    InferenceRequest,
    Late,
    StreamHead,
)
from resource_server.domain.lifecycle import Place
from resource_server.ports import AnswerStream, InferenceBackend
from resource_server.services.demand import DemandBook

#: With these a stream was not begun; what comes in one piece is then asked for by `infer`.
_NOT_BEGUN = (errors.ModelNotRunning, errors.StreamComesWhole)


class CountedBackend:
    """Carries requests by another backend. One that no instance took was no use of its model."""

    def __init__(self, backend: InferenceBackend, demand: DemandBook) -> None:
        self._backend = backend
        self._demand = demand

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises."""
        place = (cluster.name, request.framework, request.model)
        self._demand.began(place)
        used = True
        try:
            return await self._backend.infer(cluster, request, late=late)
        except errors.ModelNotRunning:
            used = False
            raise
        finally:
            self._demand.ended(place, used=used)

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Return the engine's answer as soon as its head is there; see the port."""
        place = (cluster.name, request.framework, request.model)
        self._demand.began(place)
        try:
            answer = await self._backend.stream(cluster, request)
        except BaseException as error:
            self._demand.ended(place, used=not isinstance(error, _NOT_BEGUN))
            raise
        return _CountedStream(answer, place, self._demand)


class _CountedStream:
    """A stream that counts until it is closed; what is read of it costs nothing more."""

    __slots__ = ("_answer", "_demand", "_place")

    def __init__(self, answer: AnswerStream, place: Place, demand: DemandBook) -> None:
        self._answer = answer
        self._place: Place | None = place
        self._demand = demand

    @property
    def head(self) -> StreamHead:
        return self._answer.head

    @property
    def hops(self) -> Hops:
        return self._answer.hops

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._answer)

    async def aclose(self) -> None:
        if self._place is not None:
            self._demand.ended(self._place)
            self._place = None
        await self._answer.aclose()
