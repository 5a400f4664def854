"""Engines on Unix sockets that each behave in one way, and registrations that lead to them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from compute_functions import processes
from compute_functions.contract import InstanceState
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory

MODEL = "vendor/model"
FRAMEWORK = "vllm"
KEY = "the-engine's-key"


class EngineThatEchoes:
    """Answers 200 with what it was sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        return web.json_response(
            {"path": request.path, "headers": dict(request.headers), "body": body},
            headers={"x-internal": "not for callers", "x-request-id": "r-1"},
        )


class EngineThatSums:
    """Answers 200 with the content type and the SHA-256 of what it was sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        digest = hashlib.sha256(await request.read()).hexdigest()
        return web.json_response({"type": request.headers["content-type"], "sha256": digest})


class EngineThatNotesItsCallers:
    """Answers 200 to everybody, and notes who asked for what, with which key."""

    def __init__(self) -> None:
        self.callers: list[tuple[str, str | None]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.callers.append((request.path, request.headers.get("authorization")))
        return web.json_response({})


class EngineThatRefuses:
    """Answers with an error of its own, and a body that is neither JSON nor UTF-8."""

    BODY = b'{"error": "\xff\x00 busy"}\n'

    def __init__(self, status: int) -> None:
        self._status = status

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=self._status, body=self.BODY, headers={"retry-after": "7"})


class EngineThatNeverAnswers:
    """Reads the request and says nothing until the caller leaves, which it notes."""

    def __init__(self) -> None:
        self.abandoned = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            self.abandoned.set()
        raise AssertionError


class EngineThatHangsUp:
    """Promises a body and closes the connection in the middle of it."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"the beginning")
        assert request.transport is not None
        request.transport.close()
        return response


class EngineThatSaysTooMuch:
    """Answers with `size` bytes, which can be compressed well or not at all."""

    def __init__(self, size: int, *, compressible: bool) -> None:
        self.body = b"x" * size if compressible else random.Random(0).randbytes(size)  # noqa: S311 # noise

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.body)


@asynccontextmanager
async def listening(engine: Any) -> AsyncIterator[Path]:
    """Serve `engine.answer` for every path on a Unix socket, and yield the socket's path."""
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        path = Path(folder) / "engine.sock"
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", engine.answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        # As large as an engine's: what exceeds it is not queued on a Unix socket but fails at once.
        await web.UnixSite(runner, str(path), backlog=2048).start()
        try:
            yield path
        finally:
            await runner.cleanup()


@asynccontextmanager
async def listening_on_port(engine: Any, port: int = 0) -> AsyncIterator[int]:
    """Serve `engine.answer` for every path on this or any port of the loopback; yield the port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", engine.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        opened = socket.create_server(("127.0.0.1", port))
        await web.SockSite(runner, opened).start()
        yield opened.getsockname()[1]
    finally:
        await runner.cleanup()


def registration(site: SiteDirectory, endpoint: str | Path, **changes: Any) -> Registration:
    """Write a ready instance, attended by this very process, and return it."""
    site.prepare()
    key = site.keys / "instance"
    key.write_text(KEY + "\n")
    now = time.time()
    values: dict[str, Any] = {
        "name": "instance",
        "model": MODEL,
        "framework": FRAMEWORK,
        "state": InstanceState.READY,
        "endpoint": str(endpoint),
        "api_key_file": str(key),
        "pid": os.getpid(),
        "pid_start": processes.started(os.getpid()),
        "job_id": "job-1",
        "host": socket.gethostname(),
        "started_at": now,
        "heartbeat": now,
        "paths": {path: path for path in ("/v1/chat/completions", "/v1/completions")},
    }
    registered = Registration(**(values | changes))
    registered.write(site)
    return registered
