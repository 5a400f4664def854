"""Requests straight to an engine: answers, streams, TLS on both sides, and every way to fail."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from resource_server.adapters.direct import DirectBackend, DirectClients, unusable
from resource_server.adapters.direct.proxies import proxy_for
from resource_server.adapters.hub.messages import Call, encode, read_call
from resource_server.domain import errors
from resource_server.domain.catalog import DirectTarget
from resource_server.domain.inference import InferenceAnswer, Stopped
from tests.support.certificates import make_authority
from tests.support.connect_proxy import connect_proxy
from tests.support.direct_engines import asking, cluster_at, engine_at
from tests.support.engine_doubles import (
    EngineThatEchoes,
    EngineThatHangsUp,
    EngineThatRefuses,
    EngineThatSaysTooMuch,
)
from tests.support.eventually import eventually
from tests.support.paced_engine import PacedEngine


async def test_an_answer_is_the_engine_s_and_says_how_it_came(backend):
    async with engine_at(PacedEngine()) as url:
        answer = await backend.infer(cluster_at(url), asking(plain=10))
    assert (answer.status, answer.transport) == (200, "direct")
    assert json.loads(answer.body) == {"text": "x" * 10}
    assert answer.content_type.startswith("application/json")
    assert answer.hops.engine_s > 0


async def test_an_engine_s_status_and_its_retry_after_pass(backend):
    async with engine_at(EngineThatRefuses(503)) as url:
        answer = await backend.infer(cluster_at(url), asking())
        stream = await backend.stream(cluster_at(url), asking())
        body = b"".join([piece async for piece in stream])
        await stream.aclose()
    assert (answer.status, answer.body) == (503, EngineThatRefuses.BODY)
    assert dict(answer.headers) == {"retry-after": "7"}
    assert (stream.head.status, body) == (503, EngineThatRefuses.BODY)


async def test_the_engine_gets_our_key_and_never_the_caller_s_token(backend, tmp_path):
    key = tmp_path / "key"
    key.write_text("the-key\n")
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer the-caller's",
        "Cookie": "a=b",
        "X-Api-Key": "the-caller's",
        "traceparent": "00-1-2-01",
    }
    async with engine_at(EngineThatEchoes()) as url:
        target = cluster_at(url, api_key_file=str(key), headers={"x-tenant": "us"})
        answer = await backend.infer(target, asking(headers=headers))
    got = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
    assert got["authorization"] == "Bearer the-key"
    assert got["x-tenant"] == "us"
    assert got["traceparent"] == "00-1-2-01"
    assert got["x-request-id"] == "r-1"
    assert not {"cookie", "x-api-key"} & got.keys()
    assert "the-caller" not in answer.body.decode()
    assert "x-internal" not in answer.headers


async def test_a_service_knows_a_model_by_another_name(backend):
    async with engine_at(EngineThatEchoes()) as url:
        cluster = cluster_at(f"{url}/base", models={"vendor/model": "Theirs-8B"})
        answer = await backend.infer(cluster, asking(seed=12345678901234567890))
    said = json.loads(answer.body)
    assert said["path"] == "/base/v1/chat/completions"
    assert json.loads(said["body"]) == {"model": "Theirs-8B", "seed": 12345678901234567890}


async def test_a_stream_is_byte_for_byte(backend):
    engine = PacedEngine()
    async with engine_at(engine) as url:
        stream = await backend.stream(cluster_at(url), asking(tokens=500, pad=1000))
        body = b"".join([piece async for piece in stream])
        await stream.aclose()
    assert body == bytes(engine.served["r-1"].said)
    assert (stream.head.transport, stream.head.content_type) == ("direct", "text/event-stream")
    assert stream.hops.engine_s > 0


async def test_a_caller_who_leaves_hangs_up_the_engine(backend):
    engine = PacedEngine()
    async with engine_at(engine) as url:
        stream = await backend.stream(cluster_at(url), asking(tokens=3, pause_at=2))
        await anext(aiter(stream))
        await stream.aclose()
        await stream.aclose()
        await asyncio.wait_for(engine.served["r-1"].hung_up.wait(), 5)
        late: list[InferenceAnswer | Stopped | None] = []
        for way in (
            backend.infer(cluster_at(url), asking(hang=True), late=late.append),
            backend.stream(cluster_at(url), asking(hang=True)),
        ):
            engine.served.clear()
            waiting = asyncio.create_task(way)
            await eventually(lambda: "r-1" in engine.served)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await asyncio.wait_for(engine.served["r-1"].hung_up.wait(), 5)
        assert late == [Stopped.CANCELLED]


async def test_an_engine_that_breaks_off_is_an_error_after_what_came(backend):
    engine = PacedEngine()
    async with engine_at(engine) as url:
        stream = await backend.stream(cluster_at(url), asking(tokens=5, break_at=3))
        came: list[bytes] = []
        with pytest.raises(errors.BackendInterrupted) as caught:
            await _gather(stream, came)
        await stream.aclose()
    assert b"".join(came) == bytes(engine.served["r-1"].said)
    assert caught.value.retry_after_s is None


async def _gather(stream: Any, came: list[bytes]) -> None:
    async for piece in stream:
        came += [piece]


async def test_what_is_refused_has_not_run(backend):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for ask in (backend.infer, backend.stream):
        with pytest.raises(errors.BackendUnavailable) as caught:
            await ask(cluster_at(f"http://127.0.0.1:{port}"), asking())
        assert caught.value.retry_after_s is not None


async def test_what_broke_after_it_was_sent_may_have_run(backend):
    async with engine_at(PacedEngine()) as url:
        for ask in (backend.infer, backend.stream):
            with pytest.raises(errors.BackendUnavailable) as caught:
                await ask(cluster_at(url), asking(tokens=1, break_at=0))
            assert caught.value.retry_after_s is None


async def test_a_whole_answer_that_breaks_off_is_interrupted(backend):
    async with engine_at(EngineThatHangsUp()) as url:
        with pytest.raises(errors.BackendInterrupted):
            await backend.infer(cluster_at(url), asking())


async def test_an_engine_that_says_nothing_is_a_timeout(backend):
    async with engine_at(PacedEngine()) as url:
        for ask in (backend.infer, backend.stream):
            with pytest.raises(errors.BackendTimeout) as caught:
                await ask(cluster_at(url), asking(hang=True, timeout_s=0.2))
            assert caught.value.retry_after_s is None


async def test_the_time_is_for_all_of_a_whole_answer(backend):
    async with engine_at(PacedEngine()) as url:
        with pytest.raises(errors.BackendTimeout):
            await backend.infer(cluster_at(url), asking(tokens=2, pause_at=2, timeout_s=0.3))


async def test_an_answer_that_is_too_large_is_refused():
    async with (
        engine_at(EngineThatSaysTooMuch(100_000, compressible=True)) as url,
        DirectClients() as clients,
    ):
        backend = DirectBackend(clients, most_answer=50_000)
        with pytest.raises(errors.AnswerTooLarge, match="larger than 50000 bytes"):
            await backend.infer(cluster_at(url), asking())


async def test_redirects_are_not_followed(backend):
    class EngineThatRedirects:
        async def answer(self, request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"location": "http://127.0.0.1:9/"})

    async with engine_at(EngineThatRedirects()) as url:
        assert (await backend.infer(cluster_at(url), asking())).status == 307


async def test_connections_are_used_again(backend):
    class EngineThatCounts:
        def __init__(self) -> None:
            self.peers: set[Any] = set()

        async def answer(self, request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            self.peers.add(request.transport.get_extra_info("peername"))
            return web.json_response({})

    engine = EngineThatCounts()
    async with engine_at(engine) as url:
        for _ in range(5):
            await backend.infer(cluster_at(url), asking())
            stream = await backend.stream(cluster_at(url), asking())
            await _gather(stream, [])
            await stream.aclose()
    assert len(engine.peers) == 1


async def test_both_sides_show_certificates(backend, tmp_path):
    authority = make_authority(tmp_path, "127.0.0.1")
    ours = {
        "client_certificate": str(authority.client_certificate),
        "client_key": str(authority.client_key),
    }
    ca = {"ca_file": str(authority.certificate)}
    async with engine_at(PacedEngine(), authority.server_context(wants_client=True)) as url:
        answer = await backend.infer(cluster_at(url, **ca, **ours), asking(plain=1))
        assert answer.status == 200
        with pytest.raises(errors.BackendUnavailable) as stranger:
            await backend.infer(cluster_at(url, **ours), asking(plain=1))
        with pytest.raises(errors.BackendUnavailable):
            await backend.infer(cluster_at(url, **ca), asking(plain=1))
    # A server that cannot be trusted gets nothing of the request.
    assert stranger.value.retry_after_s is not None


async def test_a_new_key_is_used_without_a_restart(tmp_path):
    key = tmp_path / "key"
    key.write_text("old")
    async with (
        engine_at(EngineThatEchoes()) as url,
        DirectClients(look_every_s=0.0) as clients,
    ):
        backend = DirectBackend(clients)
        cluster = cluster_at(url, api_key_file=str(key))
        used = [await _key_used(backend, cluster)]
        key.write_text("new-key")
        used.append(await _key_used(backend, cluster))
        key.unlink()
        with pytest.raises(errors.BackendUnavailable, match="operators"):
            await _key_used(backend, cluster)
    assert used == ["Bearer old", "Bearer new-key"]


async def _key_used(backend: DirectBackend, cluster: Any) -> str:
    answer = await backend.infer(cluster, asking())
    key: str = json.loads(answer.body)["headers"]["Authorization"]
    return key


async def test_a_stream_outlives_the_key_it_began_with(tmp_path):
    key = tmp_path / "key"
    key.write_text("old")
    engine = PacedEngine()
    async with (
        engine_at(engine) as url,
        DirectClients(look_every_s=0.0) as clients,
    ):
        backend = DirectBackend(clients)
        cluster = cluster_at(url, api_key_file=str(key))
        stream = await backend.stream(cluster, asking(tokens=3, pause_at=2))
        key.write_text("another")
        assert (await backend.infer(cluster, asking(refuse=400))).status == 400
        said = engine.served["r-1"]
        engine.go.set()
        came: list[bytes] = []
        await _gather(stream, came)
        await stream.aclose()
    assert b"[DONE]" in b"".join(came)
    assert said is not None


async def test_a_client_that_nobody_needs_any_more_is_closed(tmp_path):
    """Its target may have left the catalog. One that is in use is not closed, however long."""
    engine = PacedEngine()
    async with engine_at(engine) as url, DirectClients(unused_s=0.05) as clients:
        backend = DirectBackend(clients)
        stream = await backend.stream(cluster_at(url), asking(tokens=3, pause_at=2))
        key = tmp_path / "key"
        key.write_text("key")
        await backend.infer(cluster_at(url, api_key_file=str(key)), asking(plain=1))
        await eventually(lambda: len(clients) == 1)
        engine.go.set()
        came: list[bytes] = []
        await _gather(stream, came)
        assert b"[DONE]" in b"".join(came)
        await stream.aclose()
        await eventually(lambda: len(clients) == 0)
        assert (await backend.infer(cluster_at(url), asking(plain=1))).status == 200


@pytest.mark.parametrize(
    ("bypassed", "asked"),
    [
        ("engine.example.org:8080", 0),
        ("engine.example.org", 0),
        (".example.org:8080", 0),
        ("engine.example.org:80", 1),
        ("other.example.org:8080", 1),
    ],
)
async def test_no_proxy_may_name_a_port(monkeypatch, bypassed, asked):
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", bypassed)
    found = proxy_for(URL("http://engine.example.org:8080"))
    assert found == (URL("http://proxy.example.org:3128") if asked else None)
    monkeypatch.setenv("no_proxy", "engine.example.org:80")
    assert proxy_for(URL("http://engine.example.org")) is None


async def test_the_proxy_of_the_environment_is_used(backend, monkeypatch):
    class ProxyThatAnswers:
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def answer(self, request: web.Request) -> web.StreamResponse:
            self.asked.append(str(request.url))
            return web.json_response({})

    proxy = ProxyThatAnswers()
    async with engine_at(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        await backend.infer(cluster_at("http://engine.example.org"), asking())
    assert proxy.asked == ["http://engine.example.org/v1/chat/completions"]


async def test_a_proxy_that_refuses_is_told_of_without_its_password(backend, monkeypatch):
    async with connect_proxy("user:right") as (_, port):
        monkeypatch.setenv("https_proxy", f"http://user:wrong@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        with capture_logs() as logged, pytest.raises(errors.BackendUnavailable) as failed:
            await backend.infer(cluster_at("https://engine.example.org"), asking())
    assert failed.value.retry_after_s
    assert "407" in str(logged)
    assert "wrong" not in str(logged)


@pytest.mark.parametrize("proxy", ["http://[", "http://user:secret@h:99999", "socks5://h:1"])
async def test_what_is_no_proxy_is_the_operators_matter(backend, monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with capture_logs() as logged, pytest.raises(errors.BackendUnavailable, match="operators"):
        await backend.infer(cluster_at("https://engine.example.org"), asking())
    assert "https_proxy" in str(logged)
    assert "secret" not in str(logged)


async def test_a_framework_without_a_target_is_not_served(backend):
    cluster = cluster_at("http://127.0.0.1:9")
    bare = next(iter(cluster.frameworks.values()))
    assert backend.serves(cluster, asking())
    without = type(cluster)(
        name="c",
        description="",
        frameworks={"vllm": type(bare)(name="vllm")},
        transports=cluster.transports,
        request_timeout_s=1.0,
    )
    assert not backend.serves(without, asking())
    with pytest.raises(errors.BackendUnavailable):
        await backend.infer(without, asking())


async def test_a_target_crosses_the_hub(tmp_path):
    cluster = cluster_at("http://127.0.0.1:9", models={"a": "b"}, headers={"x-tenant": "us"})
    call = Call(id="1", cluster=cluster, request=asking())
    assert read_call(*encode(call)) == call


@pytest.mark.parametrize("content", [None, "", "two\nlines", "\xff"])
def test_a_key_file_that_is_not_fit_is_named_and_not_quoted(tmp_path: Path, content: str | None):
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content.encode("latin-1"))
    problem = unusable(DirectTarget(url="http://x", api_key_file=str(key)))
    assert str(key) in problem
    assert "two" not in problem


def test_fit_files_are_no_problem(tmp_path: Path):
    authority = make_authority(tmp_path, "127.0.0.1")
    key = tmp_path / "key"
    key.write_text("k")
    target = DirectTarget(
        url="https://x",
        api_key_file=str(key),
        ca_file=str(authority.certificate),
        client_certificate=str(authority.client_certificate),
        client_key=str(authority.client_key),
    )
    assert unusable(target) == ""
    os.truncate(authority.client_key, 10)
    assert str(authority.client_key) in unusable(target)
