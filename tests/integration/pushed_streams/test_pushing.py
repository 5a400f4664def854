"""A function's POST to the hub: whole answers, errors, callers who leave, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from typing_extensions import override

from compute_functions.contract import FailureCode, PushedAnswer, SiteFailure
from compute_functions.contract.frames import MAX_DATA, Frame, FrameKind, encoded
from compute_functions.contract.pushes import STREAM, FrameReader, Push
from compute_functions.contract.relay import AnswerHead
from compute_functions.engine_client import Call, Engine
from compute_functions.errors import CallerLeft
from compute_functions.instances import observed
from compute_functions.pushed_call import PushedCall
from compute_functions.pushing import push_answer
from compute_functions.relay.enrolment import Enrolment
from resource_server.adapters.pushed_streams import PushedStreams
from resource_server.adapters.pushed_streams.traffic import Outcome
from resource_server.domain import errors
from tests.support.certificates import make_authority
from tests.support.connect_proxy import connect_proxy
from tests.support.eventually import eventually
from tests.support.paced_engine import Served
from tests.support.push_hub import push_hub
from tests.support.stream_server import stream_server


async def whole(stream: Any) -> bytes:
    async with asyncio.timeout(20):
        return b"".join([piece async for piece in stream])


async def gather(stream: Any, came: list[bytes]) -> None:
    async for piece in stream:
        came += [piece]


async def test_an_answer_arrives_byte_for_byte(site):
    stream, task = site.begin(tokens=200, pad=3000)
    head = await asyncio.wait_for(stream.began, 20)
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
    body = await whole(stream)
    assert body == bytes(site.served.said)
    reply = await task
    assert isinstance(reply, PushedAnswer)
    assert reply.length == len(body)
    assert stream.end is not None
    assert 0 < stream.end.engine_s <= stream.end.site_s
    await stream.aclose()
    assert len(site.hub) == 0


async def test_events_come_before_the_answer_ends(site):
    stream, task = site.begin(tokens=3, pause_at=2)
    await asyncio.wait_for(stream.began, 20)
    first = await asyncio.wait_for(anext(stream), 20)
    assert first.startswith(b'data: {"n":1,')
    assert not task.done()
    site.engine.go.set()
    assert (first + await whole(stream)) == bytes(site.served.said)
    await task
    await stream.aclose()


async def test_an_engine_s_own_error_is_an_answer(site):
    stream, task = site.begin(refuse=429)
    assert (await asyncio.wait_for(stream.began, 20)).status == 429
    assert json.loads(await whole(stream)) == {"error": "no"}
    assert isinstance(await task, PushedAnswer)
    await stream.aclose()


async def test_a_caller_who_leaves_within_the_answer_hangs_up_the_engine(site):
    stream, task = site.begin(tokens=3, pause_at=2)
    await asyncio.wait_for(stream.began, 20)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(site.served.hung_up.wait(), 5)
    reply = await task
    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.CALLER_LEFT


async def test_a_caller_who_leaves_before_the_head_hangs_up_the_engine(site):
    stream, task = site.begin(hang=True)
    await eventually(lambda: "r-1" in site.engine.served)
    await stream.aclose()
    await asyncio.wait_for(site.served.hung_up.wait(), 5)
    assert (await task).code is FailureCode.CALLER_LEFT


async def test_the_engine_is_not_asked_for_a_caller_who_has_left(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    await stream.aclose()
    assert (await site.ask(push)).code is FailureCode.CALLER_LEFT
    assert site.engine.served == {}


async def test_a_secret_opens_one_stream_once(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    first = site.ask(push, said={"tokens": 3, "pause_at": 2})
    await asyncio.wait_for(stream.began, 20)
    again = await site.ask(push, request_id="r-2")
    assert again.code is FailureCode.CALLER_LEFT
    assert set(site.engine.served) == {"r-1"}
    site.engine.go.set()
    assert await whole(stream) == bytes(site.served.said)
    await first
    await stream.aclose()
    assert (await site.ask(push, request_id="r-3")).code is FailureCode.CALLER_LEFT
    assert set(site.engine.served) == {"r-1"}


async def test_another_s_secret_opens_nothing_and_burns_nothing(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    other, foreign = site.hub.expect("cluster", silence_s=20.0)
    wrong = Push(url=push.url, secret=foreign.secret, silence_s=20.0)
    assert (await site.ask(wrong)).code is FailureCode.CALLER_LEFT
    assert site.engine.served == {}
    right = site.ask(push)
    assert await whole(stream) == bytes(site.served.said)
    await right
    await stream.aclose()
    await other.aclose()


async def test_an_engine_that_breaks_off_is_an_error_after_what_came(site):
    stream, task = site.begin(tokens=5, break_at=3)
    await asyncio.wait_for(stream.began, 20)
    came: list[bytes] = []
    with pytest.raises(errors.BackendInterrupted):
        await gather(stream, came)
    assert b"".join(came) == bytes(site.served.said)
    assert (await task).code is FailureCode.ENGINE_BROKE_OFF
    await stream.aclose()


async def test_an_engine_that_does_not_answer_in_time_is_told(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    task = site.ask(push, said={"hang": True}, timeout_s=0.2)
    with pytest.raises(errors.BackendTimeout) as caught:
        await asyncio.wait_for(stream.began, 20)
    assert caught.value.retry_after_s is None
    assert (await task).code is FailureCode.ENGINE_TIMEOUT
    await stream.aclose()


async def test_an_engine_that_falls_silent_is_told(site):
    stream, push = site.hub.expect("cluster", silence_s=0.2)
    task = site.ask(push, said={"tokens": 3, "pause_at": 2})
    with pytest.raises(errors.BackendTimeout):
        await whole(stream)
    assert (await task).code is FailureCode.ENGINE_TIMEOUT
    await stream.aclose()


async def test_a_slow_reader_slows_down_the_engine_and_loses_nothing(site):
    stream, task = site.begin(tokens=700, pad=60_000)
    await asyncio.wait_for(stream.began, 20)
    first = await anext(stream)
    # The engine is stopped by what is between: windows and sockets' buffers.
    stalled = await _standing_still(site.served)
    assert stalled < 25_000_000
    assert first + await whole(stream) == bytes(site.served.said)
    await task
    await stream.aclose()


async def _standing_still(served: Served) -> int:
    """Wait until an engine writes no more, and return how much it wrote."""
    async with asyncio.timeout(20):
        seen = -1
        while seen != len(served.said):
            seen = len(served.said)
            await asyncio.sleep(0.3)
    return seen


@pytest.mark.parametrize("end", [b"", b"\x00\x01"])
async def test_a_post_that_is_cut_is_no_end(site, end):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    head = AnswerHead(status=200).to_payload()
    body = encoded(Frame(FrameKind.HEAD, STREAM, 0, head))
    body += encoded(Frame(FrameKind.DATA, STREAM, 0, b"some")) + end
    async with aiohttp.ClientSession() as session:
        status = await _post(session, push, body)
    with pytest.raises(errors.BackendInterrupted):
        await whole(stream)
    assert status == 410
    await stream.aclose()


async def test_a_connection_that_breaks_is_no_end(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    begun = asyncio.Event()

    async def broken() -> Any:
        head = AnswerHead(status=200).to_payload()
        yield encoded(Frame(FrameKind.HEAD, STREAM, 0, head))
        begun.set()
        await asyncio.Event().wait()

    async with aiohttp.ClientSession() as session:
        posting = asyncio.create_task(_post(session, push, broken()))
        await asyncio.wait_for(stream.began, 20)
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
    with pytest.raises(errors.BackendInterrupted):
        await whole(stream)
    await stream.aclose()


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(FrameKind.DATA, STREAM, 0, b"no head")],
        [Frame(FrameKind.HEAD, STREAM, 0, b"no JSON")],
        [Frame(FrameKind.HEAD, STREAM, 0, AnswerHead(status=99).to_payload())],
        [Frame(FrameKind.END, STREAM, 0, b'{"engine_s": 1, "site_s": 1}')],
        [Frame(FrameKind.HELLO, 0)],
    ],
)
async def test_what_breaks_the_protocol_is_an_error_for_operators(site, frames):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    async with aiohttp.ClientSession() as session:
        status = await _post(session, push, b"".join(map(encoded, frames)))
    with pytest.raises(errors.BackendUnavailable, match="operators") as caught:
        await stream.began
    assert caught.value.retry_after_s is None
    assert status == 410
    await stream.aclose()


async def test_bytes_that_leave_a_gap_are_an_error(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    frames = [
        Frame(FrameKind.HEAD, STREAM, 0, AnswerHead(status=200).to_payload()),
        Frame(FrameKind.DATA, STREAM, 7, b"some"),
    ]
    async with aiohttp.ClientSession() as session:
        await _post(session, push, b"".join(map(encoded, frames)))
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await whole(stream)
    await stream.aclose()


async def _post(session: aiohttp.ClientSession, push: Push, body: Any) -> int:
    headers = {"authorization": f"Bearer {push.secret}"}
    async with session.post(push.url, data=body, headers=headers) as response:
        return response.status


async def test_a_hub_that_cannot_be_reached_is_said_and_the_engine_not_asked(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    away = Push(url="http://127.0.0.1:9/relay/v1/streams/x", secret=push.secret, silence_s=20.0)
    assert (await site.ask(away)).code is FailureCode.HUB_UNREACHABLE
    assert site.engine.served == {}
    await stream.aclose()


@pytest.mark.parametrize(
    "url",
    [
        *("http://hub.example.org/relay/v1/streams/x", "ftp://127.0.0.1/x", "http://[", "x"),
        # Nothing but a hub's own place: a site must not be a way to what else listens near it.
        *("http://127.0.0.1:9/api/shutdown", "https://127.0.0.1:9/relay/v1/streams/x?y=z"),
        *("https://127.0.0.1:9/relay/v1/streams/", "https://127.0.0.1:9/relay/v1/streams/../x"),
    ],
)
async def test_a_hub_that_is_not_safe_is_not_pushed_to(site, url):
    push = Push(url=url, secret="secret", silence_s=20.0)
    assert (await site.ask(push)).code is FailureCode.HUB_NOT_ALLOWED
    assert site.engine.served == {}


async def test_a_site_that_has_enrolled_pushes_to_its_hubs_alone(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    hub = site.hub.public_url.replace("http", "ws", 1)
    site.directory.relay.mkdir(mode=0o700)
    for hubs, code in (
        (("wss://hub.example.org/relay/v1/connect",), "hub_not_allowed"),
        ((hub,), ""),
    ):
        Enrolment(cluster="cluster", hubs=hubs).write(site.directory)
        reply = await site.ask(push)
        assert getattr(reply, "code", "") == code
    assert await whole(stream) == bytes(site.served.said)
    await stream.aclose()


async def test_too_many_streams_are_refused_before_anything_is_sent(site):
    site.hub._most = 1  # noqa: SLF001 # so that a test need not open thousands
    stream, _ = site.hub.expect("cluster", silence_s=20.0)
    with pytest.raises(errors.BackendUnavailable) as caught:
        site.hub.expect("cluster", silence_s=20.0)
    assert caught.value.retry_after_s is not None
    await stream.aclose()
    stream, _ = site.hub.expect("cluster", silence_s=20.0)
    await stream.aclose()


@pytest.mark.parametrize(("password", "given"), [("", ""), ("user:word", "user:word@")])
async def test_a_push_goes_through_the_site_s_proxy_with_tls_to_the_hub(
    site, tmp_path, monkeypatch, password, given
):
    authority = make_authority(tmp_path, "127.0.0.1")
    async with (
        push_hub(authority.server_context()) as hub,
        connect_proxy(password) as (proxy, port),
    ):
        monkeypatch.setenv("https_proxy", f"http://{given}127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        site.directory.relay.mkdir(mode=0o700)
        Enrolment(
            cluster="cluster",
            hubs=(hub.public_url.replace("https", "wss", 1),),
            ca_file=str(authority.certificate),
        ).write(site.directory)
        stream, push = hub.expect("cluster", silence_s=20.0)
        task = site.ask(push, said={"tokens": 50})
        assert await whole(stream) == bytes(site.served.said)
        assert isinstance(await task, PushedAnswer)
        await stream.aclose()
    assert proxy.asked == [hub.public_url.removeprefix("https://")]


async def test_a_proxy_that_refuses_is_told_of_without_its_password(site, monkeypatch):
    async with connect_proxy("user:right") as (_, port):
        monkeypatch.setenv("https_proxy", f"http://user:wrong@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        push = Push(url="https://hub.example.org/relay/v1/streams/x", secret="s", silence_s=20.0)
        failure = await site.ask(push)
    assert failure.code is FailureCode.HUB_UNREACHABLE
    assert "407" in failure.message
    assert "wrong" not in failure.message
    assert site.engine.served == {}


@pytest.mark.parametrize("proxy", ["http://[", "http://user:secret@h:99999", "socks5://h:1"])
async def test_what_is_no_proxy_is_said_and_the_engine_not_asked(site, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    push = Push(url="https://hub.example.org/relay/v1/streams/x", secret="s", silence_s=20.0)
    failure = await site.ask(push)
    assert failure.code is FailureCode.HUB_NOT_ALLOWED
    assert "https_proxy" in failure.message
    assert "secret" not in failure.message
    assert site.engine.served == {}


class CallThatNeverEnds(PushedCall):
    """Has more to say as long as somebody takes it."""

    @override
    async def frames(self) -> AsyncGenerator[bytes, None]:
        self.called = True
        try:
            while True:
                yield bytes(MAX_DATA)
        finally:
            self.over = True


async def test_a_hub_that_takes_nothing_more_is_given_up():
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await closed.wait()
        writer.close()

    engine = Engine(endpoint="/nowhere", api_key="k")
    ask = Call(path="/", timeout_s=1.0, max_bytes=1)
    call = CallThatNeverEnds([(engine, ask)], silence_s=1.0, started=0.0)
    async with stream_server(serve) as port, asyncio.timeout(20):
        url = f"http://127.0.0.1:{port}/relay/v1/streams/x"
        push = Push(url=url, secret="s", silence_s=1.0)
        with pytest.raises(CallerLeft, match="in time"):
            await push_answer(push, call, "", taken_within_s=0.2)
        closed.set()
    assert call.over


async def test_a_hub_that_stops_says_so_and_stops_the_engine(site):
    async with push_hub() as hub:
        stream, push = hub.expect("cluster", silence_s=20.0)
        task = site.ask(push, said={"tokens": 3, "pause_at": 2})
        await asyncio.wait_for(stream.began, 20)
    with pytest.raises(errors.BackendInterrupted):
        await whole(stream)
    assert (await task).code is FailureCode.CALLER_LEFT
    await asyncio.wait_for(site.served.hung_up.wait(), 5)
    await stream.aclose()


async def test_a_silent_engine_s_site_says_that_it_is_there(site):
    call = Call(
        path="/v1/chat/completions",
        body=b'{"tokens": 3, "pause_at": 2}',
        headers={"x-request-id": "r-1"},
        timeout_s=20.0,
        max_bytes=1000,
    )
    (registered,) = observed(site.directory, time.time())
    engine = Engine(endpoint=registered.endpoint, api_key="key")
    pushed = PushedCall([(engine, call)], silence_s=20.0, started=0.0, alive_every_s=0.05)
    reader, alive = FrameReader(), 0
    frames: list[Frame] = []
    async for sent in pushed.frames():
        frames += reader.feed(sent)
        alive += frames[-1] == Frame(FrameKind.DATA, STREAM, frames[-1].offset)
        if alive == 3:
            site.engine.go.set()
    body, at = b"", 0
    for frame in frames[1:-1]:
        assert (frame.kind, frame.offset) == (FrameKind.DATA, at)
        body, at = body + frame.payload, at + len(frame.payload)
    assert body == bytes(site.served.said)
    assert (frames[0].kind, frames[-1].kind) == (FrameKind.HEAD, FrameKind.END)
    assert alive >= 3


async def test_a_site_of_which_nothing_is_heard_has_broken_off(site):
    site.hub._silent_s = 0.1  # noqa: SLF001 # so that a test need not wait for a minute
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    task = site.ask(push, said={"tokens": 3, "pause_at": 2})
    with pytest.raises(errors.BackendInterrupted):
        await whole(stream)
    assert (await task).code is FailureCode.CALLER_LEFT
    await stream.aclose()


async def test_a_hub_that_cannot_show_who_it_is_gets_nothing(site, tmp_path):
    authority = make_authority(tmp_path, "127.0.0.1")
    async with push_hub(authority.server_context()) as hub:
        stream, push = hub.expect("cluster", silence_s=20.0)
        assert (await site.ask(push)).code is FailureCode.HUB_UNREACHABLE
        await stream.aclose()
    assert site.engine.served == {}


async def test_a_cluster_has_so_many_streams_and_others_have_theirs():
    hub = PushedStreams("http://127.0.0.1:9", most=3, most_of_cluster=2)
    streams = [hub.expect("one", silence_s=20.0)[0] for _ in range(2)]
    with pytest.raises(errors.BackendUnavailable, match="'one'") as caught:
        hub.expect("one", silence_s=20.0)
    assert caught.value.retry_after_s is not None
    streams += [hub.expect("two", silence_s=20.0)[0]]
    with pytest.raises(errors.BackendUnavailable, match="'two'"):
        hub.expect("two", silence_s=20.0)
    for stream in streams:
        await stream.aclose()
    assert [traffic.open for traffic in hub.traffic().values()] == [0, 0]


def counted(site: Any) -> tuple[int, dict[Outcome, int]]:
    """Return how many streams are open, and how many have ended how."""
    traffic = site.hub.traffic()["cluster"]
    return traffic.open, dict(traffic.ended)


async def test_a_whole_stream_is_counted_once_with_its_bytes(site):
    stream, task = site.begin(tokens=2)
    assert counted(site) == (1, {})
    size = len(await whole(stream))
    await task
    await stream.aclose()
    await stream.aclose()
    assert counted(site) == (0, {Outcome.WHOLE: 1})
    assert site.hub.traffic()["cluster"].received == size


async def test_a_stream_that_its_site_ends_has_failed(site):
    stream, task = site.begin(tokens=3, break_at=2)
    with pytest.raises(errors.BackendInterrupted):
        await whole(stream)
    await task
    await stream.aclose()
    assert counted(site) == (0, {Outcome.FAILED: 1})


async def test_a_stream_without_an_end_was_cut(site):
    stream, push = site.hub.expect("cluster", silence_s=20.0)
    head = AnswerHead(status=200).to_payload()
    async with aiohttp.ClientSession() as session:
        assert await _post(session, push, encoded(Frame(FrameKind.HEAD, STREAM, 0, head))) == 410
    await stream.aclose()
    assert counted(site) == (0, {Outcome.CUT: 1})


async def test_a_stream_whose_caller_leaves_was_left_or_not_opened(site):
    stream, _ = site.begin(tokens=3, pause_at=2)
    await anext(stream)
    await stream.aclose()
    assert counted(site) == (0, {Outcome.LEFT: 1})
    stream, _ = site.hub.expect("cluster", silence_s=20.0)
    await stream.aclose()
    assert counted(site) == (0, {Outcome.LEFT: 1, Outcome.NOT_OPENED: 1})
