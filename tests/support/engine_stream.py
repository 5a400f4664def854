"""A backend that goes straight to a real engine of this host, with nothing in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from compute_functions.engine_client import Call, Engine
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import Hops, InferenceRequest, StreamHead
from tests.support.doubles import BackendThatEchoes
from tests.support.engine import RunningEngine


class EngineStream:
    """An `AnswerStream` read from an engine's own connection."""

    def __init__(self, response: aiohttp.ClientResponse, stack: AsyncExitStack) -> None:
        self.head = StreamHead(
            status=response.status,
            content_type=response.headers["content-type"],
            transport="direct",
        )
        self.hops = Hops()
        self._stack = stack
        self._body = self._read(response)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body

    async def aclose(self) -> None:
        await self._body.aclose()
        await self._stack.aclose()

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        async for part in response.content.iter_any():
            yield part


class BackendAtAnEngine(BackendThatEchoes):
    """Streams what one engine says."""

    def __init__(self, engine: RunningEngine) -> None:
        super().__init__()
        found = engine.registration()
        key_file = found["api_key_file"]
        self._engine = Engine(
            endpoint=found["endpoint"],
            api_key=Path(key_file).read_text(encoding="utf-8").strip() if key_file else "",
        )
        self._paths = found["paths"]

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> EngineStream:
        self.asked.append(request)
        call = Call(
            path=self._paths[request.path],
            timeout_s=60,
            max_bytes=10_000_000,
            headers={"content-type": request.headers["content-type"]},
            body=request.body,
        )
        async with AsyncExitStack() as stack:
            response = await stack.enter_async_context(self._engine.open(call, timeout_s=60))
            return EngineStream(response, stack.pop_all())
