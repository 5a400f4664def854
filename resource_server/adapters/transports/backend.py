"""Chooses the way of each request, and takes the next one as long as surely nothing ran."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, Transport
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Late
from resource_server.ports import AnswerStream, InferenceBackend

log = structlog.get_logger()

T = TypeVar("T")


class Carrier(InferenceBackend, Protocol):
    """The backend of one transport."""

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        """Tell whether it can carry the request now, as far as can be told without asking."""


class Transports:
    """A `ports.InferenceBackend` made of the backend of each transport that this process has.

    An answer says which one carried it. Ways that cannot carry a request now are passed over. An
    error leads to the next way only if nothing ran, and so never after the first byte of a stream.
    """

    def __init__(self, carriers: Mapping[Transport, Carrier]) -> None:
        self._carriers = dict(carriers)

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises."""

        def ask(carrier: Carrier, asked: InferenceRequest) -> Awaitable[InferenceAnswer]:
            return carrier.infer(cluster, asked, late=late)

        return await self._first(cluster, request, ask)

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Return the engine's answer as soon as its head is there; see the port."""

        def ask(carrier: Carrier, asked: InferenceRequest) -> Awaitable[AnswerStream]:
            return carrier.stream(cluster, asked)

        return await self._first(cluster, request, ask)

    async def _first(
        self,
        cluster: Cluster,
        request: InferenceRequest,
        ask: Callable[[Carrier, InferenceRequest], Awaitable[T]],
    ) -> T:
        clock = asyncio.get_running_loop().time
        deadline = clock() + request.timeout_s
        *others, last = self._ways(cluster, request)
        for transport in others:
            try:
                return await ask(self._carriers[transport], request)
            except errors.HotnodeError as error:
                left_s = deadline - clock()
                if not _nothing_ran(error) or left_s <= 0:
                    raise
                log.info(
                    "transport_failed",
                    cluster=cluster.name,
                    transport=transport.value,
                    reason=error.message,
                )
                request = replace(request, timeout_s=left_s)
        return await ask(self._carriers[last], request)

    def _ways(self, cluster: Cluster, request: InferenceRequest) -> list[Transport]:
        """Return the ways to try, at least one: if none is open, the preferred one says why."""
        known = [way for way in cluster.transports if way in self._carriers]
        if not known:
            log.error("cluster_without_transport", cluster=cluster.name)
            raise errors.BackendUnavailable(
                f"The cluster '{cluster.name}' cannot be reached from here. The operators must act."
            )
        return [way for way in known if self._carriers[way].serves(cluster, request)] or known[:1]


def _nothing_ran(error: errors.HotnodeError) -> bool:
    """Tell whether the request did not run and will not; what is too large has not left."""
    if isinstance(error, errors.PayloadTooLarge):
        return True
    return isinstance(error, errors.UpstreamError) and error.retry_after_s is not None
