"""A service that gives the same finished answer whole, or as the stream that is made of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest_asyncio
from aiohttp import web

from resource_server.adapters.whole_streams import WholeStream, asking
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest


@dataclass(slots=True)
class Finished:
    """Says `answer`, to everybody, with `status`; `asked` is what the engine was asked."""

    url: str = ""
    answer: Any = None
    status: int = 200
    content_type: str = "application/json"
    asked: list[InferenceRequest] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"content-type": request.headers["content-type"]}
        wanted = InferenceRequest(
            request_id="r",
            framework="vllm",
            model="m",
            path=request.path,
            body=body,
            timeout_s=1.0,
            headers=headers,
        )
        self.asked.append(asking(wanted))
        if not _streams(headers["content-type"], body):
            return web.Response(
                body=self._body(), status=self.status, content_type=self.content_type
            )
        stream = WholeStream.of(self.infer(), wanted)
        response = web.StreamResponse(
            status=stream.head.status,
            headers={"content-type": stream.head.content_type, **stream.head.headers},
        )
        await response.prepare(request)
        async for piece in stream:
            await response.write(piece)
        return response

    def infer(self) -> InferenceAnswer:
        return InferenceAnswer(
            status=self.status,
            body=self._body(),
            content_type=self.content_type,
            transport="task",
            hops=Hops(),
            headers={"retry-after": "7"},
        )

    def _body(self) -> bytes:
        return (
            self.answer.encode()
            if isinstance(self.answer, str)
            else json.dumps(self.answer).encode()
        )

    @contextlib.asynccontextmanager
    async def openai(self) -> AsyncIterator[openai.AsyncOpenAI]:
        async with openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key="key", max_retries=0
        ) as client:
            yield client


def _streams(content_type: str, body: bytes) -> bool:
    if content_type.startswith("multipart/"):
        return b'name="stream"\r\n\r\ntrue' in body
    return bool(json.loads(body).get("stream"))


@pytest_asyncio.fixture
async def finished() -> AsyncIterator[Finished]:
    service = Finished()
    application = web.Application()
    application.router.add_post("/{path:.*}", service.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()
