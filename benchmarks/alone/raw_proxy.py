"""The ceiling for Python: an ASGI function that passes bytes between uvicorn and aiohttp."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from alone.serving import ENGINE_PATH, serve

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def pass_on(answer: aiohttp.ClientResponse, send: Send) -> None:
    """Send a stream's bytes on as they come."""
    headers = [(b"content-type", answer.headers["content-type"].encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for content in answer.content.iter_any():
        await send({"type": "http.response.body", "body": content, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class RawProxy:
    """The application."""

    def __init__(self, engine_port: str, key_file: str = "") -> None:
        self._url = f"http://127.0.0.1:{engine_port}{ENGINE_PATH}"
        self._headers = {"content-type": "application/json"}
        if key_file:
            self._headers["authorization"] = f"Bearer {Path(key_file).read_text().strip()}"

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        if scope["type"] == "lifespan":
            await receive()
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                scope["state"]["session"] = session
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        async with scope["state"]["session"].post(
            self._url, data=body, headers=self._headers
        ) as answer:
            if answer.headers["content-type"].startswith("text/event-stream"):
                await pass_on(answer, send)
                return
            content = await answer.read()
        headers = [
            (b"content-type", answer.headers["content-type"].encode()),
            (b"content-length", b"%d" % len(content)),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    serve(RawProxy(*sys.argv[1:]), lifespan="on")
