from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import get_urlconf, path
from django.utils.decorators import async_only_middleware
from structlog.testing import capture_logs

from resource_server.api.answer import EngineResponse
from resource_server.api.body import MEMORY_BYTES, Bodies
from resource_server.api.errors import error_response
from resource_server.api.exchange import WATCH_AFTER_S, Exchange
from resource_server.api.handler import FAREWELL_S, LeanHandler
from resource_server.api.request import LeanRequest
from resource_server.api.request_log import request_log


async def echo_parameters(request: HttpRequest, number: int, word: str) -> HttpResponse:
    return HttpResponse(f"{number} {word}")


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


async def named(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ours" if get_urlconf() is OurUrls else "usual")


class OurUrls:
    """Another URLconf."""

    urlpatterns = (path("below/", named),)


@async_only_middleware
def choose_urlconf(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> object:
    """Give paths below `/below/` a URLconf of their own."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/below/"):
            request.urlconf = OurUrls  # type: ignore[assignment] # Django takes any object
        return await get_response(request)

    return middleware


async def direct(request: HttpRequest) -> HttpResponse:
    return await named(request)


direct.direct = True  # type: ignore[attr-defined] # the handler looks for it


class UsualUrls:
    """The URLconf of the settings."""

    urlpatterns = (
        path("", named),
        path("below/", direct),
        path("<int:number>/<str:word>", echo_parameters),
    )


class ServerSide:
    """An ASGI server's half of one request, by a client that stays until it `left`."""

    def __init__(self, sends: bytes = b"", **scope: Any) -> None:
        self.left = asyncio.Event()
        self._sends = sends
        self.sent: list[dict[str, Any]] = []
        self.watched = asyncio.Event()
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
            self.watched.set()
            await self.left.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": self._sends, "more_body": False}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def serve(self, handler: LeanHandler) -> asyncio.Task[None]:
        return asyncio.create_task(handler(self.scope, self.receive, self.send))

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


class ClientDoesNotRead(ServerSide):
    """The connection takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.sending.set()
        await asyncio.Event().wait()


class BodyDoesNotCome(ServerSide):
    """The request's head is all that comes."""

    def __init__(self) -> None:
        super().__init__(method="POST")
        self.reading = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.reading.set()
        await asyncio.Event().wait()
        raise AssertionError


class OtherView:
    """A URLconf with a view of the test's own."""

    def __init__(self, view: Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]) -> None:
        self.urlpatterns = [path("", view)]


@pytest.fixture
def one_view(settings):
    settings.ROOT_URLCONF = view = OneView()
    return view


@pytest.fixture
def log():
    with capture_logs() as events:
        yield events


async def stop(task: asyncio.Task[None]) -> None:
    """Cut a request short, as a server that stops does; it hears of it."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def handler(log):
    return LeanHandler(bodies=Bodies(max_bytes=10), error_response=error_response)


async def test_a_server_that_stops_cancels_the_request(one_view, handler, log):
    server = ServerSide()
    task = server.serve(handler)
    await one_view.entered.wait()
    await stop(task)
    assert server.status == 503
    headers = dict(server.sent[0]["headers"])
    assert headers[b"x-should-retry"] == b"false"
    assert headers[b"x-request-id"] == log[0]["request_id"].encode()
    assert json.loads(server.body)["error"]["code"] == "server_stopping"
    assert log[0]["status"] == 503


async def test_a_server_that_stops_does_not_wait_for_a_client_that_does_not_read(one_view, handler):
    server = ClientDoesNotRead()
    task = server.serve(handler)
    await one_view.entered.wait()
    task.cancel()
    await server.sending.wait()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10 * FAREWELL_S):
            await task


async def test_a_server_that_stops_adds_nothing_to_an_answer_that_has_begun(one_view, handler, log):
    one_view.release.set()
    server = ClientDoesNotRead()
    task = server.serve(handler)
    await server.sending.wait()
    await stop(task)
    assert [message["status"] for message in server.sent] == [200]
    assert log[0]["status"] == 503


async def test_a_server_that_stops_while_a_body_arrives_says_so(one_view, handler):
    server = BodyDoesNotCome()
    task = server.serve(handler)
    await server.reading.wait()
    await stop(task)
    assert server.status == 503


@pytest.mark.parametrize(("response", "unchanged"), [(EngineResponse, True), (HttpResponse, False)])
async def test_only_an_engines_page_about_an_error_is_shown(settings, handler, response, unchanged):
    async def view(request: HttpRequest) -> HttpResponse:
        return response("<h1>broken</h1>", status=502, content_type="text/html")

    settings.ROOT_URLCONF = OtherView(view)
    server = ServerSide()
    await server.serve(handler)
    assert server.status == 502
    assert (server.body == "<h1>broken</h1>") is unchanged


async def test_a_client_that_leaves_cancels_no_more_than_its_request(one_view, handler):
    server = ServerSide()

    async def serve() -> int:
        await handler(server.scope, server.receive, server.send)
        task = asyncio.current_task()
        return task.cancelling()

    task = asyncio.create_task(serve())
    await server.watched.wait()
    server.left.set()
    assert await task == 0


async def test_a_server_that_stops_is_heard_although_the_client_left(one_view, handler, log):
    server = ServerSide()
    task = server.serve(handler)
    await server.watched.wait()
    server.left.set()
    await asyncio.sleep(0)
    await stop(task)


async def test_nothing_watches_a_request_that_is_over(one_view, log):
    handler = LeanHandler(
        bodies=Bodies(max_bytes=10),
        error_response=error_response,
        stall_timeout_s=WATCH_AFTER_S / 10,
    )
    one_view.release.set()
    server = ServerSide()
    await server.serve(handler)
    await asyncio.sleep(WATCH_AFTER_S)
    assert not server.watched.is_set()


async def test_a_body_in_one_piece_without_a_length_has_the_same_limit(one_view, handler):
    server = ServerSide(sends=bytes(11))
    await server.serve(handler)
    assert server.status == 413
    assert not one_view.entered.is_set()


async def test_a_long_body_is_kept_on_the_disk_and_read_from_its_beginning(log):
    server = ServerSide()
    parts = [bytes(MEMORY_BYTES), b"end"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    exchange = Exchange(server.scope, receive, server.send, stall_timeout_s=1, log=request_log())
    with Bodies(max_bytes=10**7).incoming(exchange) as body:
        file = await body.read()
        assert isinstance(file.name, int)  # a file without a name on the disk
        assert file.read() == bytes(MEMORY_BYTES) + b"end"


async def test_a_request_leaves_no_task_behind(one_view, handler):
    before = asyncio.all_tasks()
    one_view.release.set()
    await ServerSide().serve(handler)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_watched_request_leaves_no_task_behind(one_view, handler):
    before = asyncio.all_tasks()
    server = ServerSide()
    task = server.serve(handler)
    await server.watched.wait()
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


async def test_a_middleware_may_choose_another_urlconf_for_its_request_alone(settings, log):
    settings.ROOT_URLCONF = UsualUrls
    settings.MIDDLEWARE = [f"{__name__}.choose_urlconf"]
    handler = LeanHandler(bodies=Bodies(max_bytes=10), error_response=error_response)
    for path_, expected in {"/below/": "ours", "/": "usual"}.items():
        server = ServerSide(path=path_)
        await handler(server.scope, server.receive, server.send)
        assert server.body == expected


async def test_a_remembered_route_has_the_parameters_of_its_path(settings, handler):
    settings.ROOT_URLCONF = UsualUrls
    long = "x" * 300
    for path_, expected in [("/1/a", "1 a"), ("/2/b", "2 b"), ("/1/a", "1 a")] + 2 * [
        (f"/3/{long}", f"3 {long}")
    ]:
        server = ServerSide(path=path_)
        await server.serve(handler)
        assert server.body == expected


async def test_a_host_is_remembered_only_if_it_is_ours(one_view, handler):
    one_view.release.set()
    for host, status in [(b"localhost", 200), (b"evil.example", 400)] * 2:
        server = ServerSide(headers=[(b"host", host)])
        await server.serve(handler)
        assert server.status == status


async def test_the_headers_read_as_django_reads_them(log):
    server = ServerSide(
        headers=[
            (b"host", b"localhost:8000"),
            (b"content-type", b"text/plain; charset=latin-1"),
            (b"content-length", b"3"),
            (b"accept", b"text/html"),
            (b"accept", b"text/plain"),
            (b"x-forwarded-for", b"10.0.0.1"),
            (b"x_forwarded_for", b"spoofed"),
            (b"x-name", "J\xfcrgen".encode("latin-1")),
            (b"cookie", b"a=1; b=2"),
        ],
        query_string=b"a=1&b=%20",
        client=("127.0.0.1", 1),
        server=("127.0.0.1", 80),
        scheme="https",
    )
    exchange = Exchange(
        server.scope, server.receive, server.send, stall_timeout_s=1, log=request_log()
    )
    ours, djangos = LeanRequest(exchange), ASGIRequest(server.scope, BytesIO())
    assert ours.META == djangos.META
    for name in ("method", "path", "encoding", "content_type", "content_params", "scheme"):
        assert getattr(ours, name) == getattr(djangos, name)
    assert ours.COOKIES == djangos.COOKIES
    assert dict(ours.headers) == dict(djangos.headers)
    assert ours.GET == djangos.GET
