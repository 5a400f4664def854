"""HTTP/1.1 with an engine: answers in any pieces, and every way to be wrong."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from compute_functions import loopback_port
from compute_functions.engine_client import Engine
from compute_functions.errors import EngineBrokeOff, EngineUnreachable
from compute_functions.relay.engine_calls import EngineCalls
from compute_functions.relay.engine_wire import Chunked, read_head, request_bytes
from tests.support.engine_doubles import EngineThatSums, listening
from tests.support.eventually import eventually
from tests.support.served import served
from tests.support.stream_server import stream_server_on_socket

OK = b"HTTP/1.1 200 OK\r\n"


class EngineThatRecites:
    """Sends given pieces for each request, one after the other, and hangs up if told so."""

    def __init__(self, *pieces: bytes, hangs_up: bool = False) -> None:
        self._pieces = pieces
        self._hangs_up = hangs_up
        self.callers = 0
        self.gone = 0
        self._writers: list[asyncio.StreamWriter] = []
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers += 1
        self._writers.append(writer)
        try:
            while await self._answered(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The caller has hung up.
        finally:
            self.gone += 1
            writer.close()

    def say(self, text: bytes) -> None:
        """Say something to everybody, asked or not."""
        for writer in self._writers:
            writer.write(text)

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        for piece in self._pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return not self._hangs_up


@asynccontextmanager
async def reciting(engine: EngineThatRecites) -> AsyncIterator[EngineCalls]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        path = f"{folder}/engine.sock"
        async with (
            stream_server_on_socket(engine.serve, path),
            EngineCalls(Engine(endpoint=path, api_key="")) as calls,
        ):
            yield calls


async def answer(calls: EngineCalls) -> tuple[int, bytes]:
    async with asyncio.timeout(10), calls.call("/v1/x", headers={}) as call:
        body = b""
        while part := await call.read():
            body += part
        return call.status, body


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=60),
    decoration=st.sampled_from([b"", b";name=value", b" "]),
    trailer=st.sampled_from([b"", b"x-sum: 1\r\n"]),
)
def test_chunks_come_whole_however_they_are_cut(chunks, cuts, decoration, trailer) -> None:
    said = b"".join(b"%x%b\r\n%b\r\n" % (len(one), decoration, one) for one in chunks)
    said += b"0\r\n" + trailer + b"\r\n"
    body, read, at = Chunked(), b"", 0
    while at < len(said):
        assert not body.done
        size = cuts[at % len(cuts)]
        read += b"".join(body.feed(said[at : at + size]))
        at += size

    assert (read, body.done) == (b"".join(chunks), True)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=3))
def test_any_bytes_are_chunks_or_an_error(data: bytes, cuts: list[int]) -> None:
    body, places = Chunked(), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    try:
        for begin, end in itertools.pairwise(places):
            body.feed(data[begin:end])
    except EngineBrokeOff:
        return
    assert body.done == body.end()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ([OK + b"content-length: 5\r\n\r\nhello"], b"hello"),
        ([OK + b"Content-Length: 5\r\n", b"\r\nhe", b"llo"], b"hello"),
        ([OK + b"transfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"], b"hello"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"content-length: 2\r\n\r\nok"], b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([OK + b"content-length: 0\r\n\r\n"], b""),
    ],
)
async def test_an_answer_is_read_and_the_connection_kept(said: list[bytes], body: bytes) -> None:
    engine = EngineThatRecites(*said)
    async with reciting(engine) as calls:
        answers = [await answer(calls) for _ in range(3)]

    assert {text for _, text in answers} == {body}
    assert (engine.callers, engine.requests) == (1, 3)


@pytest.mark.parametrize(
    ("said", "hangs_up"),
    [
        # Its announcement counts: a request may be sent before it hangs up.
        (OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello", False),
        (OK + b"content-length: 5\r\nConnection: keep-alive, Close\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", False),
        (OK + b"\r\nhello", True),
    ],
)
async def test_a_connection_that_the_engine_ends_is_not_kept(said: bytes, hangs_up: bool) -> None:
    engine = EngineThatRecites(said, hangs_up=hangs_up)
    async with reciting(engine) as calls:
        answers = [await answer(calls) for _ in range(2)]

    assert answers == [(200, b"hello")] * 2
    assert engine.callers == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        OK + b"no header\r\n\r\n",
        OK + b" folded: 1\r\n\r\n",
        OK + b"content-length: 5\r\n\r\nhell",
        OK + b"content-length: 5\r\n\r\nhello!",
        OK + b"content-length: -5\r\n\r\n",
        OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\n\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello!!0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nand more",
        OK + b"x: " + b"x" * 70_000,
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"5" * 5000,
    ],
)
async def test_what_is_not_plain_is_an_error(said: bytes) -> None:
    async with reciting(EngineThatRecites(said, hangs_up=True)) as calls:
        with pytest.raises(EngineBrokeOff):
            await answer(calls)


async def test_an_engine_that_speaks_unasked_loses_its_connection() -> None:
    engine = EngineThatRecites(OK + b"content-length: 2\r\n\r\nok")
    async with reciting(engine) as calls:
        assert await answer(calls) == (200, b"ok")
        engine.say(b"unasked")
        await eventually(lambda: engine.gone == 1)
        assert await answer(calls) == (200, b"ok")

    assert engine.callers == 2


async def test_a_kept_connection_that_the_engine_has_closed_is_not_used_again() -> None:
    engine = EngineThatRecites(OK + b"content-length: 2\r\n\r\nok", hangs_up=True)
    async with reciting(engine) as calls:
        assert await answer(calls) == (200, b"ok")
        await eventually(lambda: engine.gone == 1)
        assert await answer(calls) == (200, b"ok")

    assert engine.callers == 2


async def test_what_was_left_unread_is_nobody_else_s_answer() -> None:
    engine = EngineThatRecites(OK + b"content-length: 5\r\n\r\nhello")
    async with reciting(engine) as calls:
        for _ in range(3):
            async with calls.call("/v1/x", headers={}) as call:
                assert call.status == 200
        assert await answer(calls) == (200, b"hello")

    assert engine.callers == 4


async def test_nobody_listens(tmp_path: Path) -> None:
    async with EngineCalls(Engine(endpoint=str(tmp_path / "gone"), api_key="")) as calls:
        with pytest.raises(EngineUnreachable, match="No such file"):
            await answer(calls)


async def test_more_callers_than_the_engine_s_queue_holds_wait_for_their_turn() -> None:
    engine = EngineThatRecites(OK + b"content-length: 2\r\n\r\nok", hangs_up=True)
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        path = f"{folder}/engine.sock"
        async with (
            stream_server_on_socket(engine.serve, path, backlog=1),
            EngineCalls(Engine(endpoint=path, api_key="")) as calls,
        ):
            answers = await asyncio.gather(*(answer(calls) for _ in range(60)))

    assert answers == [(200, b"ok")] * 60


async def test_a_large_body_is_written_whole() -> None:
    body = bytes(range(256)) * 100_000
    async with (
        listening(EngineThatSums()) as socket,
        EngineCalls(Engine(endpoint=str(socket), api_key="")) as calls,
        calls.call("/v1/x", headers={"content-type": "audio/wav"}, body=body) as call,
    ):
        said = await call.read()

    assert hashlib.sha256(body).hexdigest().encode() in said


class EngineThatReadsNoBody(EngineThatRecites):
    """Answers when it has the head, and stays until `left`."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.left = asyncio.Event()

    @override
    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await super()._answered(reader, writer)
        await self.left.wait()
        return False


async def test_an_answer_to_a_body_that_is_not_read_comes_and_the_connection_is_not_kept() -> None:
    engine = EngineThatReadsNoBody(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
    async with reciting(engine) as calls:
        for _ in range(2):
            async with (
                asyncio.timeout(10),
                calls.call("/v1/x", headers={}, body=bytes(5_000_000)) as call,
            ):
                assert (call.status, await call.read(), await call.read()) == (413, b"no", b"")
        assert engine.callers == 2
        engine.left.set()


async def test_the_server_that_engines_use_is_understood() -> None:
    """Both vLLM and infinity speak through uvicorn."""
    callers = set()

    async def application(scope, receive, send) -> None:
        callers.add(scope["client"])
        body = (await receive())["body"]
        kind = (b"content-type", b"text/event-stream")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        for part in (body[:3], body[3:] * 20_000, b"data: [DONE]"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with (
        served(application) as port,
        EngineCalls(Engine(endpoint=loopback_port.endpoint(port), api_key="key")) as calls,
    ):
        for _ in range(3):
            async with calls.call("/v1/x", headers={}, body=b"abcdefgh") as call:
                assert call.headers["content-type"] == "text/event-stream"
                said = b""
                while part := await call.read():
                    said += part
            assert said == b"abc" + b"defgh" * 20_000 + b"data: [DONE]"

    assert len(callers) == 1


def test_a_header_cannot_become_two() -> None:
    with pytest.raises(ValueError, match="line break"):
        request_bytes("POST", "/v1/x", {"x-request-id": "a\r\nauthorization: b"}, b"")


def test_a_head_in_parts_is_waited_for() -> None:
    assert read_head(OK + b"content-length: 0\r\n") is None


def test_words_before_the_answer_are_passed_over_however_many() -> None:
    assert read_head(b"HTTP/1.1 100 Continue\r\n\r\n" * 1500) is None
    with pytest.raises(EngineBrokeOff, match="long"):
        read_head(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000)
