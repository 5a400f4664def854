"""One stream that a hub carries for a web process, which stops it by hanging up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from resource_server.adapters.hub import messages, wire
from resource_server.adapters.hub.failures import failure_of
from resource_server.adapters.hub.messages import Call, StreamBegun, StreamEnded
from resource_server.adapters.hub.parts import Kind, encoded
from resource_server.domain import errors
from resource_server.domain.inference import Hops
from resource_server.ports import AnswerStream, InferenceBackend

#: The hub says this often that it is there (seconds); web processes wait three times as long.
ALIVE_EVERY_S = 15.0


class StreamUnderWay:
    """Asks the backend, and writes what comes to a response."""

    def __init__(self, backend: InferenceBackend, call: Call) -> None:
        self._backend = backend
        self._call = call
        self._silent = True

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer the request; who is cancelled here takes the engine's work along."""
        response = web.StreamResponse(headers=wire.stream_headers())
        await response.prepare(request)
        # A web process that has hung up wants no more. Often the end of its connection is heard
        # first, and cancels this; but not while something is being written.
        with suppress(ConnectionResetError):
            async with self._alive(response):
                ended = await self._outcome(response)
                await response.write(encoded(Kind.END, messages.encode_stream(ended)))
            await response.write_eof()
        return response

    async def _outcome(self, response: web.StreamResponse) -> StreamEnded:
        hops = Hops()
        try:
            answer = await self._backend.stream(self._call.cluster, self._call.request)
            try:
                await self._carry(answer, response)
            finally:
                hops = answer.hops
                await answer.aclose()
        except errors.HotnodeError as error:
            return StreamEnded(hops=hops, failure=failure_of(error))
        return StreamEnded(hops=hops)

    async def _carry(self, answer: AnswerStream, response: web.StreamResponse) -> None:
        begun = StreamBegun(head=answer.head, hops=answer.hops)
        await response.write(encoded(Kind.BEGIN, messages.encode_stream(begun)))
        async for part in answer:
            self._silent = False
            await response.write(encoded(Kind.DATA, part))

    @asynccontextmanager
    async def _alive(self, response: web.StreamResponse) -> AsyncIterator[None]:
        """Say now and then that the hub is there, for as long as the body lasts."""
        saying = asyncio.create_task(self._say_alive(response), name=f"alive {self._call.id}")
        try:
            yield
        finally:
            saying.cancel()
            with suppress(asyncio.CancelledError, OSError):  # its failure is the stream's too
                await saying

    async def _say_alive(self, response: web.StreamResponse) -> None:
        while True:
            self._silent = True
            await asyncio.sleep(ALIVE_EVERY_S)
            if self._silent:
                await response.write(encoded(Kind.ALIVE))
