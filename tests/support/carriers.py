"""Backends of single transports, each named for how it fares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import (
    Hops,
    InferenceAnswer,
    InferenceRequest,
    Late,
    StreamHead,
)


class CarrierThatServesNobody:
    """Has no way to any cluster just now; whoever asks it all the same hears why."""

    def __init__(self) -> None:
        self.asked: list[InferenceRequest] = []

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        return False

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        raise errors.ModelNotRunning("No instance is connected now.")

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> Piecemeal:
        self.asked.append(request)
        raise errors.ModelNotRunning("No instance is connected now.")


class CarrierThatFails:
    """Raises the same error whenever it is asked."""

    def __init__(self, error: errors.HotnodeError) -> None:
        self.asked: list[InferenceRequest] = []
        self._error = error

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        return True

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        raise self._error

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> Piecemeal:
        self.asked.append(request)
        raise self._error


class CarrierThatHangs:
    """Never answers; a caller who leaves is told late that nothing is known."""

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        return True

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        try:
            await asyncio.Event().wait()
        finally:
            if late is not None:
                late(None)
        raise AssertionError

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> Piecemeal:
        await asyncio.Event().wait()
        raise AssertionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Piecemeal:
    """A stream of two pieces, and of an error after them where one is given."""

    head: StreamHead
    error: errors.HotnodeError | None = None
    hops: Hops = field(default_factory=Hops)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        pass


class CarrierThatAnswers:
    """Answers `one two` by the transport that it is named for; a stream may break after that."""

    def __init__(self, transport: str, *, broken: errors.HotnodeError | None = None) -> None:
        self.asked: list[InferenceRequest] = []
        self._transport = transport
        self._broken = broken

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        return True

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        return InferenceAnswer(
            status=200,
            body=b"one two",
            content_type="text/plain",
            transport=self._transport,
            hops=Hops(),
        )

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> Piecemeal:
        self.asked.append(request)
        head = StreamHead(status=200, content_type="text/plain", transport=self._transport)
        return Piecemeal(head=head, error=self._broken)
