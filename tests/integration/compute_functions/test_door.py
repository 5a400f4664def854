"""Requests by task to an instance on another host: they come in by its door, and nobody else."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from compute_functions import run_request
from compute_functions.contract import (
    EngineAnswer,
    EngineRequest,
    FailureCode,
    SiteFailure,
    read_reply,
)
from compute_functions.contract.relay import EngineLoad
from compute_functions.door import certificate
from compute_functions.door.door import Door
from compute_functions.door.fronts import Fronts
from compute_functions.door.threshold import Strangers
from compute_functions.engine_client import NOT_SENT, Engine
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory
from tests.support.engine_doubles import (
    FRAMEWORK,
    KEY,
    MODEL,
    EngineThatEchoes,
    EngineThatHangsUp,
    EngineThatNeverAnswers,
    EngineThatNotesItsCallers,
    EngineThatRefuses,
    listening,
    registration,
)

CHAT = "/v1/chat/completions"
HERE, ELSEWHERE = "127.0.0.1", "node-7"
_STRANGERS = Strangers()


async def ask(*, timeout_s: float = 30.0, body: bytes = b"{}") -> EngineAnswer | SiteFailure:
    request = EngineRequest(
        request_id="r-1",
        framework=FRAMEWORK,
        model=MODEL,
        path=CHAT,
        body=body,
        timeout_s=timeout_s,
    )
    reply = read_reply(await run_request.answer(request.to_wire()))
    assert isinstance(reply, EngineAnswer | SiteFailure)
    return reply


@asynccontextmanager
async def a_door(endpoint: str | Path, strangers: Strangers = _STRANGERS) -> AsyncIterator[Door]:
    engine = Engine(endpoint=str(endpoint), api_key=KEY)
    door = Door(engine, name="instance-1", host=HERE, paths=[CHAT], strangers=strangers)
    with tempfile.TemporaryDirectory() as folder:
        async with door.opened(Path(folder)):
            yield door


@asynccontextmanager
async def far(
    engine: Any, site: SiteDirectory, *, strangers: Strangers = _STRANGERS, **changes: Any
) -> AsyncIterator[Door]:
    """Run an engine behind a door, registered as on another host."""
    async with listening(engine) as endpoint, a_door(endpoint, strangers) as door:
        values = {"door": door.address, "door_fingerprint": door.fingerprint, "host": ELSEWHERE}
        registration(site, endpoint, **(values | changes))
        yield door


async def inside(door: Door) -> None:
    """Wait for a request under way."""
    async with asyncio.timeout(10):
        while not door.in_flight:  # noqa: ASYNC110 - it gives no sign
            await asyncio.sleep(0.01)


@asynccontextmanager
async def knocking(door: Door) -> AsyncIterator[aiohttp.ClientSession]:
    """Call a door as somebody who is no function; whose certificate it is does not matter."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(door.address, connector=connector) as session:
        yield session


async def test_an_instance_on_another_host_answers_by_its_door(site: SiteDirectory) -> None:
    async with far(EngineThatEchoes(), site):
        reply = await ask(body=b"x" * 3_000_000)

    assert isinstance(reply, EngineAnswer), reply
    told = json.loads(reply.body)
    assert (reply.status, told["path"], len(told["body"])) == (200, CHAT, 3_000_000)
    seen = {name.lower(): value for name, value in told["headers"].items()}
    assert seen["authorization"] == f"Bearer {KEY}"
    assert seen["x-request-id"] == "r-1"


async def test_an_engine_s_error_is_an_answer(site: SiteDirectory) -> None:
    async with far(EngineThatRefuses(503), site):
        reply = await ask()

    assert isinstance(reply, EngineAnswer)
    assert (reply.status, reply.body) == (503, EngineThatRefuses.BODY)
    assert reply.headers["retry-after"] == "7"


async def test_who_has_no_key_and_who_asks_for_more_is_not_let_in(site: SiteDirectory) -> None:
    engine = EngineThatNotesItsCallers()
    good = {"authorization": f"Bearer {KEY}"}
    async with far(engine, site) as door, knocking(door) as session:
        for headers, path, status, why in (
            ({}, CHAT, 401, "key"),
            ({"authorization": "Bearer other"}, CHAT, 401, "key"),
            ({"authorization": "Bearer \xfc"}, CHAT, 401, "key"),
            ({"authorization": "Bearer \udcff"}, CHAT, 401, "key"),
            (good, "/metrics", 404, "path"),
            (good, f"{CHAT}/../../metrics", 404, "path"),
        ):
            async with session.post(path, headers=headers) as response:
                assert (response.status, response.headers[NOT_SENT]) == (status, why)
        async with session.get(CHAT, headers=good) as response:
            assert response.status == 405

    assert engine.callers == []


async def test_who_listens_there_with_another_certificate_gets_no_key(
    site: SiteDirectory,
) -> None:
    engine = EngineThatNotesItsCallers()
    another = certificate.made("another").fingerprint
    async with far(engine, site, door_fingerprint=another):
        reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING
    assert engine.callers == []


@asynccontextmanager
async def stranger(door: Door, *, tls: bool) -> AsyncIterator[asyncio.StreamReader]:
    """Stand at a door and say nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(door.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HERE, port, ssl=context if tls else None)
    try:
        yield reader
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def is_sent_away(reader: asyncio.StreamReader) -> None:
    """Wait for the end of a connection on which nothing is said."""
    async with asyncio.timeout(10):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            return


@pytest.mark.parametrize("tls", [False, True])
async def test_who_says_nothing_is_sent_away(site: SiteDirectory, tls: bool) -> None:
    engine = EngineThatNeverAnswers()
    async with far(engine, site, strangers=Strangers(within_s=0.2)) as door:
        asked = asyncio.create_task(ask())
        await inside(door)
        async with stranger(door, tls=tls) as reader:
            await is_sent_away(reader)
        # Who came before with the key stays.
        assert door.in_flight == 1
        asked.cancel()
        assert await door.drained(10.0)


async def test_many_who_say_nothing_keep_nobody_out(site: SiteDirectory) -> None:
    async with (
        far(EngineThatEchoes(), site, strangers=Strangers(most=3)) as door,
        AsyncExitStack() as stack,
    ):
        readers = [
            await stack.enter_async_context(stranger(door, tls=bool(at % 2))) for at in range(9)
        ]
        reply = await ask()
        assert isinstance(reply, EngineAnswer), reply
        for reader in readers[:6]:
            await is_sent_away(reader)
        assert not readers[-1].at_eof()


async def test_what_one_instance_did_not_take_another_does(
    site: SiteDirectory, unused_tcp_port: int
) -> None:
    nobody = f"https://{HERE}:{unused_tcp_port}"
    async with far(EngineThatEchoes(), site):
        registration(
            site,
            "/engine.sock",
            name="gone",
            host=ELSEWHERE,
            door=nobody,
            door_fingerprint="00" * 32,
        )
        async with a_door(site.root / "nobody.sock") as dead:
            registration(
                site,
                "/engine.sock",
                name="dead",
                host=ELSEWHERE,
                door=dead.address,
                door_fingerprint=dead.fingerprint,
            )
            replies = [await ask() for _ in range(16)]

    answers = [reply for reply in replies if isinstance(reply, EngineAnswer)]
    assert [answer.status for answer in answers] == [200] * len(replies)


@pytest.mark.row("C-56")
async def test_where_no_instance_took_it_it_is_as_if_none_ran(
    site: SiteDirectory, unused_tcp_port: int
) -> None:
    registration(
        site,
        "/engine.sock",
        host=ELSEWHERE,
        door=f"https://{HERE}:{unused_tcp_port}",
        door_fingerprint="00" * 32,
    )

    reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING


async def test_what_may_have_run_is_not_asked_of_another(site: SiteDirectory) -> None:
    async with far(EngineThatHangsUp(), site):
        reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.ENGINE_BROKE_OFF


async def test_a_caller_who_waits_no_longer_stops_the_engine(site: SiteDirectory) -> None:
    engine = EngineThatNeverAnswers()
    async with far(engine, site):
        reply = await ask(timeout_s=0.5)
        assert isinstance(reply, SiteFailure)
        assert reply.code is FailureCode.ENGINE_TIMEOUT
        async with asyncio.timeout(10):
            await engine.abandoned.wait()


async def test_whose_time_is_over_is_not_waited_for(site: SiteDirectory) -> None:
    async with far(EngineThatNeverAnswers(), site), asyncio.timeout(10):
        reply = await ask(timeout_s=1e-9)

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING


async def test_on_its_own_host_it_is_asked_directly(site: SiteDirectory) -> None:
    async with far(EngineThatEchoes(), site, host=socket.gethostname(), door="https://no:1"):
        reply = await ask()

    assert isinstance(reply, EngineAnswer)


async def test_one_without_a_door_is_out_of_reach(site: SiteDirectory) -> None:
    async with far(EngineThatEchoes(), site, door=""):
        reply = await ask()

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.MODEL_NOT_RUNNING
    assert "only node-7 can reach it" in reply.message


async def test_a_drain_waits_for_who_is_inside(site: SiteDirectory) -> None:
    class RelayWithoutHubs:
        in_flight = 0
        load: EngineLoad | None = None

        def start(self) -> None: ...

        def drain(self) -> None: ...

        async def drained(self, within_s: float) -> bool:
            return True

        async def look(self) -> EngineLoad | None:
            return None

    engine = EngineThatNeverAnswers()
    async with far(engine, site) as door:
        fronts = Fronts(RelayWithoutHubs(), door)
        assert await fronts.drained(0.0)
        asked = asyncio.create_task(ask())
        await inside(door)
        fronts.drain()
        assert not await fronts.drained(0.05)
        asked.cancel()
        assert await fronts.drained(10.0)


@pytest.mark.parametrize("host", ["192.0.2.1", "node..ib0"])
def test_an_address_that_is_none_of_this_node_is_the_operators_mistake(host: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"job\.task_host: {re.escape(host)}"):
        Door(Engine(endpoint="/e", api_key=KEY), name="i", host=host, paths=[])
