"""A gateway's files and batches in memory, with the troubles that real networks have."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web


@dataclass(slots=True)
class GatewayThatBreaksOff:
    """Does what it is asked, but for so many troubles of each kind.

    `refuses_token`: 401. `busy`: 503. `cut_uploads` and `cut_answers`: the connection is lost,
    before anything was kept, and after. `cut_downloads`: after so many bytes of a file.
    `refusal` (status, message, code) answers who asks for the list.
    What asks for `held`, as `GET /v1/batches`, waits until `let`; that it came says `came`.
    """

    token: str = "good"
    refuses_token: int = 0
    busy: int = 0
    cut_uploads: int = 0
    cut_answers: int = 0
    cut_downloads: list[int] = field(default_factory=list)
    tells_sums: bool = True
    lies: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    refusal: tuple[int, str, str] | None = None
    held: str = ""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def application(self) -> web.Application:
        """What is served."""
        app = web.Application(client_max_size=1 << 30, middlewares=[self._troubles])
        app.add_routes(
            [
                web.get("/v1/batches", self._list),
                web.post("/v1/batches", self._create),
                web.get("/v1/batches/{id}", self._get),
                web.post("/v1/files", self._upload),
                web.get("/v1/files/{id}", self._file),
                web.delete("/v1/files/{id}", self._delete),
                web.get("/v1/files/{id}/content", self._content),
            ]
        )
        return app

    def took(self, method: str, path: str) -> int:
        """Return how often something was asked."""
        return self.asked.count(f"{method} /v1/{path}")

    @web.middleware
    async def _troubles(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.asked[-1] == self.held:
            self.came.set()
            await self.let.wait()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error(401, "The token has expired.")
        if self.busy:
            self.busy -= 1
            return _error(503, "The gateway starts.")
        found: web.StreamResponse = await handler(request)
        return found

    async def _list(self, request: web.Request) -> web.Response:
        if self.refusal:
            return _error(*self.refusal)
        return web.json_response({"data": [], "has_more": False})

    async def _create(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        if key not in self.batches:
            wire = await request.json()
            if wire.get("model") == "forbidden":
                return _error(403, "You may not use this model.")
            counts = {"total": 2, "completed": 2, "failed": 0}
            made = {"id": f"batch_{len(self.batches)}", "status": "completed"}
            self.batches[key] = wire | made | {"request_counts": counts}
        if self.cut_answers:
            self.cut_answers -= 1
            _cut(request)
        return web.json_response(self.batches[key])

    async def _get(self, request: web.Request) -> web.Response:
        for batch in self.batches.values():
            if batch["id"] == request.match_info["id"]:
                return web.json_response(batch)
        return _error(404, "There is no batch of this id, or it is not yours.")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        field = form["file"]
        assert isinstance(field, web.FileField)
        with field.file as file:
            content = file.read()
        if self.cut_uploads:
            self.cut_uploads -= 1
            _cut(request)
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        return web.json_response({"id": file_id, "bytes": len(self.files[file_id])})

    async def _file(self, request: web.Request) -> web.Response:
        content = self._stored(request)
        if content is None:
            return _error(404, "There is no such file, or it is not yours.")
        return web.json_response({"id": request.match_info["id"], "bytes": len(content)})

    async def _delete(self, request: web.Request) -> web.Response:
        self.files.pop(request.match_info["id"])
        return web.json_response({"deleted": True})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self._stored(request)
        assert content is not None
        begin = request.http_range.start or 0
        self.ranges.append(request.headers.get("Range", ""))
        if begin >= len(content) > 0:
            return _error(416, "There is no such part.")
        response = web.StreamResponse(status=206 if begin else 200)
        if begin:
            response.headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        if self.tells_sums:
            response.headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        response.content_length = len(content) - begin
        await response.prepare(request)
        sent = content if not self.lies else bytes(len(content))
        if self.cut_downloads:
            await response.write(sent[begin : begin + self.cut_downloads.pop(0)])
            _cut(request)
        await response.write(sent[begin:])
        await response.write_eof()
        return response

    def _stored(self, request: web.Request) -> bytes | None:
        return self.files.get(request.match_info["id"])


@asynccontextmanager
async def serving(gateway: GatewayThatBreaksOff) -> AsyncIterator[str]:
    """Serve one; yields its base URL."""
    runner = web.AppRunner(gateway.application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def _cut(request: web.Request) -> NoReturn:
    """Lose the connection, and do nothing of what was to come."""
    assert request.transport is not None
    request.transport.abort()
    raise asyncio.CancelledError


def _error(status: int, message: str, code: str = "c") -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status)
