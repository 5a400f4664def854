"""How a relay gets out of its site: with TLS, through a proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.asking_hub import hub_that_asks
from tests.support.certificates import make_authority
from tests.support.connect_proxy import connect_proxy
from tests.support.engine_doubles import listening
from tests.support.eventually import eventually
from tests.support.paced_engine import PacedEngine
from tests.support.relays import relaying

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


@asynccontextmanager
async def served_by(application: web.Application) -> AsyncIterator[int]:
    """Serve an application on the loopback; yields its port."""
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_hub_is_reached_through_the_proxy_and_again_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_authority(tmp_path, "localhost")
    engine = PacedEngine()
    async with (
        connect_proxy("user:p%w") as (proxy, port),
        hub_that_asks(authority.server_context()) as (hub, address),
        listening(engine) as socket,
    ):
        monkeypatch.setenv("https_proxy", f"http://user:p%25w@127.0.0.1:{port}")
        async with relaying(socket, address, ca_file=str(authority.certificate)):
            await hub.linked()
            body = json.dumps({"tokens": 20, "pause_at": 10}).encode()
            asked = await hub.ask(body, request_id="r-1")
            await asked.until(10)
            proxy.cut()
            engine.go.set()

            assert await asked.whole() == engine.served["r-1"].said

    place = address.removeprefix("wss://").partition("/")[0]
    assert set(proxy.asked) == {place}
    assert hub.resumed == [False, True]


async def test_a_proxy_that_wants_a_password_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = make_authority(tmp_path, "localhost")
    async with (
        connect_proxy("user:right") as (proxy, port),
        hub_that_asks(authority.server_context()) as (hub, address),
        listening(PacedEngine()) as socket,
    ):
        monkeypatch.setenv("https_proxy", f"http://user:wrong@127.0.0.1:{port}")
        async with relaying(socket, address, ca_file=str(authority.certificate)):
            await eventually(lambda: len(proxy.asked) > 1)

    assert hub.tokens == []
    assert "407" in caplog.text
    assert "wrong" not in caplog.text


async def test_a_hub_that_nobody_vouches_for_is_not_spoken_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = make_authority(tmp_path, "localhost")
    (tmp_path / "other").mkdir()
    stranger = make_authority(tmp_path / "other", "localhost")
    async with (
        hub_that_asks(authority.server_context()) as (hub, address),
        listening(PacedEngine()) as socket,
        relaying(socket, address, ca_file=str(stranger.certificate)),
    ):
        await eventually(lambda: "certificate verify failed" in caplog.text.lower())

    assert hub.tokens == []


async def test_the_system_s_variable_for_authorities_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_authority(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with (
        hub_that_asks(authority.server_context()) as (hub, address),
        listening(PacedEngine()) as socket,
        relaying(socket, address),
    ):
        await hub.linked()
        assert await (await hub.ask()).whole()


async def test_a_password_of_netrc_does_not_replace_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        hub_that_asks() as (hub, address),
        listening(PacedEngine()) as socket,
        relaying(socket, address),
    ):
        await hub.linked()

    assert hub.tokens == ["credential-1"]


async def test_a_hub_that_sends_the_relay_elsewhere_is_not_obeyed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(other_address.replace("ws", "http", 1))

    application = web.Application()
    application.router.add_get("/relay/v1/connect", elsewhere)
    async with (
        hub_that_asks() as (other, other_address),
        served_by(application) as port,
        listening(PacedEngine()) as socket,
        relaying(socket, f"ws://127.0.0.1:{port}/relay/v1/connect"),
    ):
        await eventually(lambda: "link_" in caplog.text)

    assert "the hub answers 302" in caplog.text
    assert other.hellos == []
    assert other.tokens == []


async def test_authorities_that_are_none_do_not_end_the_relay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    async with (
        hub_that_asks() as (hub, address),
        listening(PacedEngine()) as socket,
        relaying(socket, address, ca_file=str(tmp_path / "ca.pem")),
    ):
        await eventually(lambda: "relay_restarts" in caplog.text)
        (tmp_path / "ca.pem").unlink()
        authority = make_authority(tmp_path, "localhost")
        assert authority.certificate == tmp_path / "ca.pem"

        await hub.linked()
