"""A direct engine's answer as it comes."""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp

from resource_server.adapters import engine_heads
from resource_server.adapters.direct import failures
from resource_server.adapters.direct.clients import DirectClient
from resource_server.domain.catalog import Transport
from resource_server.domain.inference import Hops, StreamHead, answer_too_large


class DirectStream:
    """A `ports.AnswerStream`. `silence_s` is how long the engine may say nothing."""

    def __init__(
        self,
        client: DirectClient,
        response: aiohttp.ClientResponse,
        *,
        cluster: str,
        silence_s: float,
        began_at: float,
    ) -> None:
        self._client = client
        self._response = response
        self._cluster = cluster
        self._silence_s = silence_s
        self._began_at = began_at
        self._ended_at: float | None = None
        self._closed = False
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.head = StreamHead(
            status=response.status,
            content_type=engine_heads.content_type(headers),
            transport=Transport.DIRECT.value,
            headers=engine_heads.passed_on(headers),
        )

    @property
    def hops(self) -> Hops:
        """Where the time went: all of it at the engine, once the answer is whole."""
        if self._ended_at is None:
            return Hops()
        return Hops(engine_s=self._ended_at - self._began_at)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                piece = await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            raise failures.within_the_answer(self._cluster, problem) from problem
        if not piece:
            self._ended_at = asyncio.get_running_loop().time()
            raise StopAsyncIteration
        return piece

    async def whole(self, *, most: int) -> bytes:
        """Return the whole body; raises `AnswerTooLarge` if it is larger than `most`."""
        body = bytearray()
        async for piece in self:
            body += piece
            if len(body) > most:
                raise answer_too_large(most)
        return bytes(body)

    async def aclose(self) -> None:
        """Hang up, unless the answer is whole; then the connection is used again."""
        if self._closed:
            return
        self._closed = True
        if self._ended_at is None:
            self._response.close()
        else:
            self._response.release()
        await self._client.release()
