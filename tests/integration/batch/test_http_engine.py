"""The HTTP transport against servers that answer, hang up, dawdle, and say how they are."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from batch import errors
from batch.transports import http
from batch.transports.http import EngineAddress, HttpEngine, read_load
from batch.transports.transport import EngineLoad, Request

PATH = "/v1/chat/completions"
METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="1",reason="capacity"} 9.0
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine_that(
    handler: Handler, folder: Path, *, api_key: str = "", **limits: Any
) -> AsyncIterator[HttpEngine]:
    """Lend an engine whose every path is answered by `handler`."""
    app = web.Application(client_max_size=20_000_000)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    socket = folder / "engine.sock"
    await web.UnixSite(runner, str(socket)).start()
    address = EngineAddress(paths=frozenset({PATH}), socket=socket, api_key=api_key, **limits)
    try:
        async with http.opened(address) as engine:
            yield engine
    finally:
        await runner.cleanup()


def asked(path: str = PATH, body: bytes = b"{}") -> Request:
    return Request(path=path, body=body, request_id="request-1")


async def test_a_request_arrives_whole_and_its_answer_too(tmp_path: Path):
    seen: CIMultiDict[str] = CIMultiDict()

    async def answer(request: web.Request) -> web.Response:
        seen.update(request.headers)
        body = await request.read()
        return web.Response(
            status=429, body=body, headers={"Retry-After": "3", "X-Request-Id": "e"}
        )

    # As large as a line may be.
    for body in (b'{"a": 1}', b'{"a": "%b"}' % (b"x" * 10_000_000)):
        async with engine_that(answer, tmp_path, api_key="the key") as engine:
            reply = await engine.ask(asked(body=body))
        assert (reply.status, reply.body, reply.request_id) == (429, body, "e")
        assert reply.retry_after_s == 3
    assert seen["Authorization"] == "Bearer the key"
    assert seen["X-Request-Id"] == "request-1"
    assert seen["Content-Type"] == "application/json"
    assert seen["Accept-Encoding"] == "identity"


async def test_a_path_that_is_not_listed_is_never_asked(tmp_path: Path):
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response()

    async with engine_that(answer, tmp_path) as engine:
        with pytest.raises(KeyError):
            await engine.ask(asked("/v1/load_lora_adapter"))
    assert paths == []


async def test_an_answer_is_read_no_further_than_it_may_be_long(tmp_path: Path):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100_000)

    async def long(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_001)

    for handler in (endless, long):
        async with engine_that(handler, tmp_path, most_bytes=1_000) as engine:
            with pytest.raises(errors.AnswerTooLarge):
                await engine.ask(asked())


async def test_no_connection_is_told_apart_from_one_that_was_lost(tmp_path: Path):
    async def hang_up(request: web.Request) -> web.Response:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with engine_that(hang_up, tmp_path) as engine:
        with pytest.raises(errors.BrokenOff):
            await engine.ask(asked())
    gone = EngineAddress(paths=frozenset({PATH}), socket=tmp_path / "nobody")
    async with http.opened(gone) as engine:
        with pytest.raises(errors.NotSent):
            await engine.ask(asked())
        assert not await engine.ready()
        assert await engine.load() is None


@pytest.mark.parametrize("size", [2, 600_000])
async def test_an_engine_with_too_many_before_its_socket_has_heard_nothing(
    tmp_path: Path, size: int
):
    path = tmp_path / "engine.sock"
    address = EngineAddress(paths=frozenset({PATH}), socket=path)
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as first,
    ):
        listening.bind(str(path))
        # Without a place for anybody the system lets one in.
        listening.listen(0)
        first.connect(str(path))
        async with http.opened(address) as engine:
            with pytest.raises(errors.NotSent):
                await engine.ask(asked(body=b"x" * size))


class SessionWhoseConnectionsFail:
    """Fails each request with an error of the system."""

    def __init__(self, number: int) -> None:
        self._error = aiohttp.ClientOSError(number, os.strerror(number))

    def post(self, *_: object, **__: object) -> NoReturn:
        raise self._error


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOTCONN, errors.NotSent),
        (errno.ECONNRESET, errors.BrokenOff),
        (errno.EPIPE, errors.BrokenOff),
    ],
)
async def test_what_was_no_connection_is_told_apart_by_the_error(
    number: int, kind: type[errors.CallFailed]
):
    session = cast("aiohttp.ClientSession", SessionWhoseConnectionsFail(number))
    with pytest.raises(kind):
        await HttpEngine(EngineAddress(paths=frozenset({PATH})), session).ask(asked())


@pytest.mark.parametrize("size", [2, 600_000])
@pytest.mark.parametrize("kept", [False, True])
async def test_what_may_not_go_any_more_is_not_sent(tmp_path: Path, kept: bool, size: int):
    heard = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers["X-Request-Id"])
        return web.Response()

    async with engine_that(answer, tmp_path) as engine:
        if kept:
            await engine.ask(asked())
        body = b"x" * size
        late = Request(path=PATH, body=body, request_id="late", may_go=lambda: False)
        with pytest.raises(errors.Withheld):
            await engine.ask(late)
        await engine.ask(asked())
    assert set(heard) == {"request-1"}


async def test_a_large_body_arrives_whole(tmp_path: Path):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    body = bytes(range(256)) * 4096
    async with engine_that(answer, tmp_path) as engine:
        assert (await engine.ask(asked(body=body))).body == body


async def test_an_answer_that_takes_too_long_is_not_awaited(tmp_path: Path):
    async def dawdle(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with engine_that(dawdle, tmp_path, timeout_s=0.1) as engine:
        with pytest.raises(errors.TimedOut):
            await engine.ask(asked())


@pytest.mark.parametrize(
    ("status", "ready"), [(200, True), (404, True), (500, False), (503, False)]
)
async def test_an_engine_says_whether_it_is_ready(tmp_path: Path, status: int, ready: bool):
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/health"
        return web.Response(status=status)

    async with engine_that(answer, tmp_path) as engine:
        assert await engine.ready() is ready


async def test_an_engine_that_has_no_metrics_is_not_asked_for_them_again(tmp_path: Path):
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=404)

    async with engine_that(answer, tmp_path) as engine:
        assert await engine.load() is None
        assert await engine.load() is None
    assert paths == ["/metrics"]


async def test_an_engine_tells_its_load(tmp_path: Path):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=METRICS)

    async with engine_that(answer, tmp_path) as engine:
        assert await engine.load() == EngineLoad(running=7, waiting=1)


def test_metrics_of_others_are_no_load():
    assert read_load(b"") is None
    assert read_load(b"python_gc_objects_collected_total 7\n") is None


@pytest.mark.parametrize("value", ["soon", "", "-1", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"])
async def test_a_retry_after_that_is_none_is_none(tmp_path: Path, value: str):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": value})

    async with engine_that(answer, tmp_path) as engine:
        assert (await engine.ask(asked())).retry_after_s is None


async def test_a_retry_after_may_be_a_date(tmp_path: Path):
    async def answer(request: web.Request) -> web.Response:
        headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
        return web.Response(status=503, headers=headers)

    async with engine_that(answer, tmp_path) as engine:
        assert (await engine.ask(asked())).retry_after_s == 0
