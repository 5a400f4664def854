from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path
from structlog.testing import capture_logs

from resource_server.api.errors import error_response
from resource_server.api.handler import LeanHandler


class OneView:
    """A URLconf with one view, which waits until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.urlpatterns = [path("", self.view)]

    async def view(self, request: HttpRequest) -> HttpResponse:
        self.entered.set()
        await self.release.wait()
        return HttpResponse("done")


class ServerSide:
    """An ASGI server's half of one request without a body, by a client that stays."""

    def __init__(self, **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._asked = False
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        } | scope

    async def receive(self) -> dict[str, Any]:
        if self._asked:
            await asyncio.Event().wait()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def serve(self, handler: LeanHandler) -> asyncio.Task[None]:
        return asyncio.create_task(handler(self.scope, self.receive, self.send))

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


@pytest.fixture
def one_view(settings):
    settings.ROOT_URLCONF = view = OneView()
    return view


@pytest.fixture
def log():
    with capture_logs() as events:
        yield events


@pytest.fixture
def handler(log):
    return LeanHandler(max_body_bytes=10, error_response=error_response)


async def test_a_server_that_stops_cancels_the_request(one_view, handler, log):
    server = ServerSide()
    task = server.serve(handler)
    await one_view.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.sent == []
    assert log[0]["status"] == 503


async def test_a_request_leaves_no_task_behind(one_view, handler):
    before = asyncio.all_tasks()
    one_view.release.set()
    await ServerSide().serve(handler)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_watched_request_leaves_no_task_behind(one_view, handler):
    before = asyncio.all_tasks()
    task = ServerSide().serve(handler)
    async with asyncio.timeout(10):
        while not any(t.get_name().startswith("watch") for t in asyncio.all_tasks()):
            await asyncio.sleep(0.001)
    one_view.release.set()
    await task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "scope",
    [
        {"query_string": b"\xff"},
        {"headers": [(b"host", b"localhost"), (b"content-length", b"many")]},
        {"headers": [(b"host", b"a host")]},
    ],
)
async def test_what_cannot_be_read_is_refused(one_view, handler, log, scope):
    server = ServerSide(**scope)
    await server.serve(handler)
    assert server.status == 400
    assert b'"code":"invalid_request"' in server.sent[1]["body"]
    assert log[-1]["status"] == 400
    assert not one_view.entered.is_set()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_it_serves_http_alone(handler, kind):
    with pytest.raises(ValueError, match=kind):
        await ServerSide(type=kind).serve(handler)


async def test_a_root_path_is_no_part_of_the_route(one_view, handler):
    one_view.release.set()
    server = ServerSide(path="/below/", root_path="/below")
    await server.serve(handler)
    assert server.status == 200
