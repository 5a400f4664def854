"""The relay's small parts: ids that ran, pauses, patience, load, credentials, proxies."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from yarl import URL

from compute_functions import enrol, loopback_port
from compute_functions.contract.relay import EngineLoad
from compute_functions.engine_client import Engine
from compute_functions.errors import ConfigurationError
from compute_functions.relay.credentials import Bearer, Claims, SiteCredentials
from compute_functions.relay.engine_calls import EngineCalls
from compute_functions.relay.enrolment import Enrolment, key_file
from compute_functions.relay.load import LoadReader
from compute_functions.relay.patience import Patience
from compute_functions.relay.pauses import Pauses
from compute_functions.relay.proxies import proxy_for
from compute_functions.relay.recent import RecentRequests
from compute_functions.relay.times import Times
from compute_functions.site import SiteDirectory
from tests.support.engine_doubles import (
    EngineThatNotesItsCallers,
    listening,
    listening_on_port,
)
from tests.support.relays import KEY, LOAD, CredentialsThatCount

CLAIMS = Claims(
    cluster="sophia", instance="i-1", job="job-7", framework="vllm", model="vendor/model"
)


class EngineWithPage:
    """Answers with one page."""

    def __init__(self, page: str) -> None:
        self._page = page

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=self._page)


class EngineThatStreams:
    """Answers with two events, or with one object where no stream is asked for."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            return web.json_response({})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            await response.write(event)
            await asyncio.sleep(0.01)
        return response


@dataclass
class WatchThatNotes:
    """Notes what it is told of callers."""

    came_at: list[float] = field(default_factory=list)
    first: list[tuple[int, float]] = field(default_factory=list)
    left: list[tuple[int, float]] = field(default_factory=list)

    def came(self, now: float) -> None:
        self.came_at.append(now)

    def first_token(self, *, seconds: float, size: int, now: float) -> None:
        assert now - seconds == pytest.approx(self.came_at[-1])
        self.first.append((size, seconds))

    def gave_up(self, *, seconds: float, size: int, now: float) -> None:
        assert now - seconds == pytest.approx(self.came_at[-1])
        self.left.append((size, seconds))


def enrolled(folder: Path, *arguments: str) -> SiteDirectory:
    given = ["--site-dir", str(folder), "--cluster", "sophia", "--hub", "https://hub.example.org"]
    assert enrol.main([*given, *arguments]) == 0
    return SiteDirectory(folder)


def test_an_id_is_forgotten_when_enough_others_have_ended() -> None:
    recent = RecentRequests(remembered=2)
    for name in ("a", "b", "c"):
        assert recent.begin(name)
        recent.end(name)

    assert [recent.begin(name) for name in ("b", "c", "a")] == [False, False, True]


def test_an_id_that_runs_is_never_forgotten() -> None:
    recent = RecentRequests(remembered=1)
    recent.begin("runs")
    for number in range(10):
        recent.begin(str(number))
        recent.end(str(number))

    assert not recent.begin("runs")


def test_pauses_begin_with_none_and_double_up_to_the_longest() -> None:
    pauses = Pauses(Times())
    seen = [pauses.next() for _ in range(2000)]
    pauses.reset()

    assert seen[0] == pauses.next() == 0.0
    for number, longest in enumerate((0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0), start=1):
        assert longest / 2 <= seen[number] <= longest
    assert max(seen) <= 10.0
    assert 60 <= pauses.refused() <= 120


async def test_patience_ends_once_and_not_before_its_last_deadline() -> None:
    ends = asyncio.Queue[float]()
    patience = Patience(lambda: ends.put_nowait(time.monotonic()))
    patience.expect(0.01)
    moved = time.monotonic()
    patience.expect(0.05)

    assert await asyncio.wait_for(ends.get(), 10) >= moved + 0.04
    patience.expect(60.0)
    assert 59 < patience.left <= 60
    patience.expect(0.01)
    await asyncio.wait_for(ends.get(), 10)
    patience.expect(0.01)
    patience.end()
    await asyncio.sleep(0.03)
    assert ends.empty()


@pytest.mark.parametrize(
    ("page", "load"),
    [
        ("n_running 1\nn_waiting 2\n", EngineLoad(running=1, waiting=2)),
        ('n_running{a="b c"} 1.5e1\nn_waiting{x="1"} 1\nn_waiting{x="2"} 2 1700\n', (15, 3)),
        ("n_running_total 1\nn_waiting 2\n", None),
        ("# n_running 1\nn_waiting 2\n", None),
        ("n_running NaN\nn_waiting 2\n", None),
        ("n_running many\nn_waiting 2\n", None),
        ("", None),
    ],
)
async def test_the_load_is_the_sum_of_a_metric_s_samples(page: str, load) -> None:
    metrics = dataclasses.replace(LOAD, running="n_running", waiting="n_waiting")
    async with (
        listening(EngineWithPage(page)) as socket,
        EngineCalls(Engine(endpoint=str(socket), api_key=KEY)) as calls,
    ):
        read = await LoadReader(calls, metrics).read()

    expected = EngineLoad(running=load[0], waiting=load[1]) if isinstance(load, tuple) else load
    assert read == expected


async def test_it_is_told_how_long_callers_wait_for_the_first_part_of_a_stream() -> None:
    watch = WatchThatNotes()
    streamed, whole = b'{"stream": true}', b"{}"
    async with (
        listening(EngineThatStreams()) as socket,
        EngineCalls(Engine(endpoint=str(socket), api_key=KEY), watch) as calls,
    ):
        for body in (whole, streamed):
            async with calls.call("/v1/completions", headers={}, body=body) as response:
                while await response.read():
                    pass
        # No caller's.
        await LoadReader(calls, LOAD).read()

    assert len(watch.came_at) == 2
    [(size, seconds)] = watch.first
    assert size == len(streamed)
    assert seconds > 0
    assert not watch.left


async def test_who_leaves_before_the_first_token_is_noted() -> None:
    watch = WatchThatNotes()
    streamed = b'{"stream": true}'
    async with (
        listening(EngineThatStreams()) as socket,
        EngineCalls(Engine(endpoint=str(socket), api_key=KEY), watch) as calls,
    ):
        for body in (b"{}", streamed):
            async with calls.call("/v1/completions", headers={}, body=body):
                await asyncio.sleep(0.01)

    assert not watch.first
    [(size, seconds)] = watch.left
    assert size == len(streamed)
    assert seconds >= 0.01


async def test_an_engine_that_is_gone_has_no_load(tmp_path: Path) -> None:
    async with EngineCalls(Engine(endpoint=str(tmp_path / "gone"), api_key=KEY)) as calls:
        assert await LoadReader(calls, LOAD).read() is None


async def test_a_port_is_called_only_while_ours_listens_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = EngineThatNotesItsCallers()
    async with listening_on_port(engine) as port:
        endpoint = loopback_port.endpoint(port)
        async with (
            EngineCalls(Engine(endpoint=endpoint, api_key=KEY)) as calls,
            calls.call("/v1/embeddings", headers={}, body=b"{}") as response,
        ):
            assert response.status == 200
        monkeypatch.setattr("os.getuid", lambda: 4242)
        async with EngineCalls(Engine(endpoint=endpoint, api_key=KEY)) as calls:
            assert await LoadReader(calls, LOAD).read() is None

    assert engine.callers == [("/v1/embeddings", f"Bearer {KEY}")]


async def test_a_credential_says_who_the_instance_is(tmp_path: Path) -> None:
    site = enrolled(tmp_path)
    public = private_key(site).public_key()
    credentials = SiteCredentials(key_file(site), CLAIMS)

    first, second = await credentials.new(), await credentials.new()

    claims = jwt.decode(first, public, algorithms=["EdDSA"], audience="hotnode-hub")
    assert (claims["iss"], claims["sub"], claims["job"]) == ("sophia", "i-1", "job-7")
    assert (claims["framework"], claims["model"]) == ("vllm", "vendor/model")
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert claims["jti"] != jwt.decode(second, options={"verify_signature": False})["jti"]


def private_key(site: SiteDirectory) -> Ed25519PrivateKey:
    key = load_pem_private_key(key_file(site).read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


@pytest.mark.parametrize("text", [None, "", "no key", "-----BEGIN PRIVATE KEY-----\nMC4C\n"])
async def test_a_missing_or_broken_key_is_the_operators(tmp_path: Path, text: str | None) -> None:
    site = enrolled(tmp_path)
    key_file(site).unlink()
    if text is not None:
        key_file(site).write_text(text)

    with pytest.raises(ConfigurationError, match=r"site\.key"):
        await SiteCredentials(key_file(site), CLAIMS).new()


async def test_a_bearer_shows_the_session_while_it_is_good() -> None:
    bearer = Bearer(CredentialsThatCount())
    assert await bearer.token() == "credential-1"
    assert not bearer.refused()
    bearer.renewed("session", 3600)
    assert await bearer.token() == "session"
    assert bearer.refused()
    assert await bearer.token() == "credential-2"
    bearer.renewed("too short", 1)
    assert await bearer.token() == "credential-3"


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("wss://hub.example.org/x", "http://proxy.example.org:3128"),
        ("ws://hub.example.org/x", None),
        ("wss://inside.example.com/x", None),
        ("wss://localhost/x", None),
        ("wss://hub.example.net:8443/x", None),
        ("wss://hub.example.net/x", "http://proxy.example.org:3128"),
    ],
)
def test_the_usual_variables_name_the_proxy(
    monkeypatch: pytest.MonkeyPatch, address: str, proxy: str | None
) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", "localhost,.example.com,hub.example.net:8443")

    assert proxy_for(URL(address)) == (None if proxy is None else URL(proxy))


def test_a_proxy_of_another_kind_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "socks5://user:secret@proxy.example.org:1080")

    with pytest.raises(ConfigurationError, match=r"kind socks5") as caught:
        proxy_for(URL("wss://hub.example.org"))
    assert "secret" not in str(caught.value)


def test_a_site_that_is_not_enrolled_has_no_enrolment(tmp_path: Path) -> None:
    assert Enrolment.read(SiteDirectory(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "[]", '{"cluster": "c"}', '{"cluster": "", "hubs": ["x"]}'])
def test_a_broken_enrolment_is_an_error(tmp_path: Path, text: str) -> None:
    site = enrolled(tmp_path)
    (site.relay / "relay.json").write_text(text)

    with pytest.raises(ConfigurationError, match="run it again"):
        Enrolment.read(site)
