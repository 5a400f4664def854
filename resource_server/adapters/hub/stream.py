"""A streamed answer as a web process reads it from the hub."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Self

import aiohttp
import structlog

from resource_server.adapters.hub import messages
from resource_server.adapters.hub.failures import error_of
from resource_server.adapters.hub.messages import StreamBegun, StreamEnded
from resource_server.adapters.hub.parts import Kind, decoded
from resource_server.domain import errors
from resource_server.domain.inference import Hops, StreamHead

log = structlog.get_logger()


class HubStream:
    """An `AnswerStream` that has a connection to the hub for itself."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        parts: AsyncGenerator[tuple[int, bytes], None],
        begun: StreamBegun,
    ) -> None:
        self._response = response
        self._parts = parts
        self._begun = begun
        self._ended: StreamEnded | None = None
        self._body = self._read()

    @classmethod
    async def opened(cls, response: aiohttp.ClientResponse) -> Self:
        """Wait for the head; raises what the hub raised, and what broken connections raise."""
        parts = decoded(response.content)
        async for kind, payload in parts:
            if kind == Kind.BEGIN:
                return cls(response, parts, messages.read_stream_begun(payload))
            if kind == Kind.END and (failure := messages.read_stream_ended(payload).failure):
                raise error_of(failure)
        raise aiohttp.ClientPayloadError("the hub hung up")

    @property
    def head(self) -> StreamHead:
        """How the answer began."""
        return self._begun.head

    @property
    def hops(self) -> Hops:
        """Where the time went, as far as it is known now."""
        return self._ended.hops if self._ended else self._begun.hops

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raises what the hub raised, and `BackendInterrupted`."""
        return self._body

    async def aclose(self) -> None:
        """Hang up: the hub then stops the engine, unless the answer is whole."""
        await self._body.aclose()
        await self._parts.aclose()
        if self._ended is None:
            self._response.close()
        else:
            self._response.release()

    async def _read(self) -> AsyncGenerator[bytes, None]:
        try:
            async for kind, payload in self._parts:
                if kind == Kind.DATA:
                    yield payload
                elif kind == Kind.END:
                    self._ended = messages.read_stream_ended(payload)
                    break
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError too
            log.warning("hub_lost_stream", reason=repr(error))
            raise _cut() from error
        if self._ended is None:
            log.warning("hub_lost_stream", reason="the hub hung up")
            raise _cut()
        if self._ended.failure is not None:
            raise error_of(self._ended.failure)


def _cut() -> errors.BackendInterrupted:
    return errors.BackendInterrupted(
        "The gateway's hub stopped before the answer was whole. What came of it is good."
    )
