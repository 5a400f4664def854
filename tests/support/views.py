"""Views that each do one thing a handler must cope with, and say what happened to them."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import structlog
from django.db import connections
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from ninja import File, NinjaAPI, UploadedFile

from resource_server.store.database import in_database

_numbers = itertools.count()


class Views:
    """A URLconf. Every test makes its own, and waits for what its views note in `events`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.release = asyncio.Event()
        self.blocked = threading.Event()
        self.barrier = threading.Barrier(2)
        self.produced = 0
        self.seen: dict[str, object] = {}
        self.urlpatterns = [
            path("plain", self.plain),
            path("fields", self.fields),
            path("echo", self.echo),
            path("context/<str:name>", self.context),
            path("broken", self.broken),
            path("missing", self.missing),
            path("host", self.plain),
            path("status/<int:status>", self.status),
            path("wait", self.wait),
            path("stubborn", self.stubborn),
            path("stream", self.stream),
            path("endless", self.endless),
            path("torn", self.torn),
            path("own-iterator", self.own_iterator),
            path("generator", self.generator),
            path("ticks", self.ticks),
            path("file", self.file),
            path("sync", self.sync),
            path("slow-query", self.slow_query),
            path("query", self.query),
            path("sync-query", self.sync_query),
            path("api/", self._api().urls),
        ]

    async def expect(self, event: str) -> None:
        """Wait for the next event, which must be this one."""
        async with asyncio.timeout(10):
            assert await self.events.get() == event

    async def plain(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"plain", content_type="text/plain")

    # The handler's own requests carry more than Django's.
    async def fields(self, request: Any) -> HttpResponse:
        request.log_fields |= {"model": "m", "status": "mine"}
        response = HttpResponse(request.request_id)
        response["X-Request-ID"] = "the engine's"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async def echo(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.body, content_type=request.content_type)

    async def context(self, request: HttpRequest, name: str) -> HttpResponse:
        """Answer with what the context holds before and after another request ran."""
        before = structlog.contextvars.get_contextvars()
        structlog.contextvars.bind_contextvars(name=name)
        self.events.put_nowait(f"in {name}")
        await self.release.wait()
        after = structlog.contextvars.get_contextvars()
        return HttpResponse(f"{sorted(before)} {after['name']} {after['request_id']}")

    async def broken(self, request: HttpRequest) -> HttpResponse:
        raise RuntimeError("a mistake in a view")

    async def missing(self, request: HttpRequest) -> HttpResponse:
        raise Http404

    async def status(self, request: HttpRequest, status: int) -> HttpResponse:
        return HttpResponse(status=status)

    async def wait(self, request: HttpRequest) -> HttpResponse:
        self.events.put_nowait("waiting")
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.events.put_nowait("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            self.events.put_nowait("cleaned up")
        return HttpResponse("released")

    async def stubborn(self, request: HttpRequest) -> HttpResponse:
        """Answer although the client has left."""
        self.events.put_nowait("waiting")
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.events.put_nowait("cancelled")
        return HttpResponse("released")

    async def stream(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self._parts(), content_type="text/event-stream")

    async def _parts(self) -> AsyncIterator[bytes | str]:
        task = asyncio.current_task()
        try:
            yield b"data: 1\n\n"
            await self.release.wait()
            yield "data: 2\n\n"
        finally:
            await asyncio.sleep(0)
            self._note_closed_by(task)

    async def endless(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self._endless_parts())

    async def _endless_parts(self) -> AsyncIterator[bytes]:
        task = asyncio.current_task()
        part = bytes(200_000)
        try:
            while True:
                yield part
                self.produced += len(part)
        finally:
            self._note_closed_by(task)

    def _note_closed_by(self, task: asyncio.Task[None] | None) -> None:
        same = asyncio.current_task() is task
        self.events.put_nowait("closed in its task" if same else "closed elsewhere")

    async def torn(self, request: HttpRequest) -> StreamingHttpResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a part"
            raise RuntimeError("a mistake in a stream")

        return StreamingHttpResponse(parts())

    async def own_iterator(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(_Countdown(3))

    async def generator(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self._sync_parts())

    def _sync_parts(self) -> Iterator[bytes]:
        try:
            yield b"one "
            self.blocked.wait(10)
            yield b"two"
        finally:
            self.seen["closed"] = True

    async def ticks(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self._ticks())

    def _ticks(self) -> Iterator[bytes]:
        try:
            while not self.blocked.wait(0.05):
                yield b"tick "
        finally:
            self.seen["closed"] = True

    async def file(self, request: HttpRequest) -> FileResponse:
        return FileResponse((self.folder / "file.js").open("rb"))

    def sync(self, request: HttpRequest) -> HttpResponse:
        """Answer once another request is in here as well."""
        self.barrier.wait(10)
        return HttpResponse("together")

    async def slow_query(self, request: HttpRequest) -> HttpResponse:
        self.events.put_nowait("querying")
        return HttpResponse(str(await in_database(self.blocked.wait, 10)))

    async def query(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(await in_database(sum, (1, 2))))

    def sync_query(self, request: HttpRequest) -> HttpResponse:
        with connections["default"].cursor() as cursor:
            cursor.execute("select 7")
            self.seen["connection"] = connections["default"]
            return HttpResponse(str(cursor.fetchone()[0]))

    def _api(self) -> NinjaAPI:
        api = NinjaAPI(urls_namespace=f"test-{next(_numbers)}", docs_url=None, openapi_url=None)

        @api.post("/upload")
        async def upload(request: HttpRequest, file: File[UploadedFile]) -> dict[str, object]:
            content = file.read()
            return {"name": file.name, "size": len(content), "ends": content[-3:].decode()}

        @api.get("/broken")
        async def broken(request: HttpRequest) -> None:
            raise RuntimeError("a mistake in an operation")

        return api


class _Countdown:
    """An asynchronous iterator that is no generator: it cannot be closed."""

    def __init__(self, start: int) -> None:
        self._left = start

    def __aiter__(self) -> _Countdown:
        return self

    async def __anext__(self) -> str:
        if self._left == 0:
            raise StopAsyncIteration
        self._left -= 1
        return str(self._left)
