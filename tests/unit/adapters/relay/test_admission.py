"""Who may open a link: the right key, the right claims, once."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from structlog.testing import capture_logs

from compute_functions.contract.frames import Frame, FrameKind
from compute_functions.contract.relay import Hello
from resource_server.adapters.relay.links import MOST_LINKS
from resource_server.adapters.relay.listener import ListenerTimes
from resource_server.adapters.relay.traffic import LinkState
from resource_server.domain.catalog import Catalog
from tests.support import catalogs
from tests.support.relay_hub import RelayHub, relay_hub
from tests.support.relay_site import RelaySite, catalog_of


async def test_a_credential_is_taken_once(hub: RelayHub, enrolled: RelaySite) -> None:
    credential = enrolled.credential()
    relay = await hub.dialler.dial(credential)
    await relay.hello()
    assert await hub.dialler.refused(credential) == 401


async def test_a_credential_is_taken_once_also_after_a_restart(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    credential = enrolled.credential()
    async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
        await (await hub.dialler.dial(credential)).hello()
    async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
        assert await hub.dialler.refused(credential) == 401


async def test_of_many_at_once_one_gets_in(hub: RelayHub, enrolled: RelaySite) -> None:
    credential = enrolled.credential()
    dialled = await asyncio.gather(
        *(hub.dialler.dial(credential) for _ in range(8)), return_exceptions=True
    )
    refused = [one for one in dialled if isinstance(one, aiohttp.WSServerHandshakeError)]
    assert [one.status for one in refused] == [401] * 7


async def test_a_credential_of_another_site_s_key_is_refused(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    other = RelaySite.enrolled("other")
    async with relay_hub(catalog_of(enrolled, other), tmp_path) as hub:
        assert await hub.dialler.refused(other.signed(enrolled.claims())) == 401


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda claims: claims.pop(name)


def with_(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda claims: claims.update(values)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_(exp=time.time() - 3600), id="expired"),
        pytest.param(with_(iat=time.time() + 3600), id="of the future"),
        pytest.param(with_(exp=time.time() + 40 * 86_400), id="good for too long"),
        pytest.param(with_(exp=float("inf")), id="good for ever"),
        pytest.param(with_(aud="another"), id="for somebody else"),
        pytest.param(with_(sub=""), id="of nobody"),
        pytest.param(with_(model="m" * 300), id="a name too long"),
        pytest.param(with_(job=4711), id="a job that is no name"),
        pytest.param(with_(jti="a\nb"), id="a line break"),
        *(pytest.param(without(name), id=f"no {name}") for name in ("exp", "iat", "aud", "sub")),
        *(pytest.param(without(name), id=f"no {name}") for name in ("jti", "iss", "framework")),
    ],
)
async def test_a_credential_that_is_not_right_is_refused(
    hub: RelayHub, enrolled: RelaySite, change: Callable[[dict[str, Any]], None]
) -> None:
    claims = enrolled.claims()
    change(claims)
    assert await hub.dialler.refused(enrolled.signed(claims)) == 401


OPENING = (
    b"GET /relay/v1/connect HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: hotnode-relay.v1\r\n"
)


def unsigned(claims: dict[str, Any]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


def deep() -> str:
    """Return a token that is nested deeper than JSON is read."""
    header = base64.urlsafe_b64encode(b'{"alg": "HS256"}').decode().rstrip("=")
    nested = base64.urlsafe_b64encode(b"[" * 5400).decode().rstrip("=")
    return f"{header}.{nested}.AAAA"


async def test_tokens_that_are_none_are_refused(hub: RelayHub, enrolled: RelaySite) -> None:
    claims = enrolled.claims()
    public = jwt.encode(claims | {"cluster": "local"}, enrolled.public_key, algorithm="HS256")
    for token in ("x", "a.b.c", unsigned(claims), public, deep()):
        assert await hub.dialler.refused(token) == 401


async def test_a_token_that_is_no_text_is_refused(hub: RelayHub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(OPENING + b"Authorization: Bearer a.\xff.c\r\n\r\n")
    async with asyncio.timeout(10):
        status = await reader.readline()
    assert status.startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("begun", [b"", b"GET /relay/v1/conn"])
async def test_who_never_asks_anything_is_not_kept_and_a_silent_relay_is(
    enrolled: RelaySite, tmp_path: Path, begun: bytes
) -> None:
    times = ListenerTimes(idle_s=0.05)
    async with relay_hub(catalog_of(enrolled), tmp_path, times=times) as hub:
        await hub.dialler.connected(enrolled)
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(begun)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert [link.state for link in hub.links] == [LinkState.READY]


async def test_clusters_without_a_key_take_no_relays(enrolled: RelaySite, tmp_path: Path) -> None:
    async with relay_hub(Catalog([catalogs.cluster("local")]), tmp_path) as hub:
        assert await hub.dialler.refused(enrolled.credential()) == 403
        stranger = RelaySite.enrolled("elsewhere")
        assert await hub.dialler.refused(stranger.credential()) == 403


async def test_before_the_catalog_is_read_relays_come_again(
    enrolled: RelaySite, tmp_path: Path
) -> None:
    current: list[Catalog | None] = [None]
    async with relay_hub(lambda: current[0], tmp_path) as hub:
        credential = enrolled.credential()
        assert await hub.dialler.refused(credential) == 503
        current[0] = catalog_of(enrolled)
        await (await hub.dialler.dial(credential)).hello()


async def test_what_cannot_be_noted_is_not_taken(enrolled: RelaySite, tmp_path: Path) -> None:
    (tmp_path / "redeemed").write_text("a file where the folder should be")
    async with relay_hub(catalog_of(enrolled), tmp_path) as hub:
        assert await hub.dialler.refused(enrolled.credential()) == 503


async def test_another_protocol_is_not_spoken_here(hub: RelayHub, enrolled: RelaySite) -> None:
    credential = enrolled.credential()
    assert await hub.dialler.refused(credential, protocol="hotnode-relay.v2") == 400
    # Nothing was used up by that.
    await (await hub.dialler.dial(credential)).hello()


async def test_without_a_token_nobody_gets_in(hub: RelayHub) -> None:
    headers = {"Sec-WebSocket-Protocol": "hotnode-relay.v1"}
    url = f"http://127.0.0.1:{hub.port}/relay/v1/connect"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=headers) as answer:
            assert answer.status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(url, protocols=("hotnode-relay.v1",))
        assert caught.value.status == 401


async def test_a_session_opens_further_connections(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.connected(enrolled)
    assert relay.accept is not None
    for _ in range(3):
        await (await hub.dialler.dial(relay.accept.session)).hello()


async def test_an_instance_has_a_few_links_and_no_more(hub: RelayHub, enrolled: RelaySite) -> None:
    first = await hub.dialler.connected(enrolled)
    assert first.accept is not None
    for _ in range(MOST_LINKS):
        newest = await hub.dialler.dial(first.accept.session)
        await newest.hello()
    assert await first.closed() == 1001
    names = [link.name for link in hub.links]
    assert len(names) == MOST_LINKS
    assert newest.link in names


async def test_another_hub_of_the_gateway_takes_the_session(
    hub: RelayHub, enrolled: RelaySite, tmp_path: Path
) -> None:
    relay = await hub.dialler.connected(enrolled)
    assert relay.accept is not None
    async with relay_hub(catalog_of(enrolled), tmp_path / "other") as other:
        accept = await (await other.dialler.dial(relay.accept.session)).hello()
    assert accept.hub != relay.accept.hub


async def test_another_gateway_does_not(hub: RelayHub, enrolled: RelaySite, tmp_path: Path) -> None:
    relay = await hub.dialler.connected(enrolled)
    assert relay.accept is not None
    async with relay_hub(catalog_of(enrolled), tmp_path / "other", secret=b"x" * 40) as other:
        assert await other.dialler.refused(relay.accept.session) == 401


async def test_a_session_that_is_over_is_refused(enrolled: RelaySite, tmp_path: Path) -> None:
    async with relay_hub(catalog_of(enrolled), tmp_path, session_s=-1.0) as hub:
        relay = await hub.dialler.dial(enrolled.credential())
        accept = await relay.hello()
        assert await hub.dialler.refused(accept.session) == 401


async def test_a_hello_of_another_instance_is_refused(hub: RelayHub, enrolled: RelaySite) -> None:
    relay = await hub.dialler.dial(enrolled.credential("instance-1"))
    hello = Hello(instance="instance-2", link="l", paths=())
    await relay.said(Frame(FrameKind.HELLO, payload=hello.to_payload()))
    assert await relay.closed() == 1002
    assert list(hub.links) == []


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([Frame(FrameKind.DRAIN)], id="no HELLO"),
        pytest.param([Frame(FrameKind.HELLO, payload=b"[]")], id="a HELLO that is none"),
        pytest.param(
            [Frame(FrameKind.HELLO, payload=Hello(instance="i", link="", paths=()).to_payload())],
            id="no link",
        ),
        pytest.param([], id="nothing in it"),
    ],
)
async def test_who_does_not_begin_with_hello_is_turned_away(
    hub: RelayHub, enrolled: RelaySite, frames: list[Frame]
) -> None:
    relay = await hub.dialler.dial(enrolled.credential("i"), instance="i")
    await relay.said(*frames)
    assert await relay.closed() == 1002
    assert list(hub.links) == []


async def test_who_says_nothing_is_turned_away(enrolled: RelaySite, tmp_path: Path) -> None:
    times = ListenerTimes(hello_s=0.05)
    async with relay_hub(catalog_of(enrolled), tmp_path, times=times) as hub:
        relay = await hub.dialler.dial(enrolled.credential())
        assert await relay.closed() == 1002


async def test_the_log_says_why_and_never_repeats_a_token(
    hub: RelayHub, enrolled: RelaySite
) -> None:
    credential = enrolled.credential()
    await hub.dialler.dial(credential)
    with capture_logs() as logs:
        await hub.dialler.refused(credential)
        await hub.dialler.refused("not-a-token-at-all")
    assert [entry["event"] for entry in logs] == ["relay_refused", "relay_refused"]
    assert logs[0]["reason"] == "credential: it was used before"
    for part in (*credential.split("."), "not-a-token-at-all"):
        assert part not in str(logs)
