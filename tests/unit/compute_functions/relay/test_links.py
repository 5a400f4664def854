"""How links are opened, refused, broken and ended."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from compute_functions.contract import frames
from compute_functions.contract.failures import FailureCode
from compute_functions.contract.frames import MAX_DATA, MAX_MESSAGE, Frame, FrameKind
from compute_functions.contract.relay import EngineLoad
from tests.support.asking_hub import hub_that_asks
from tests.support.engine_doubles import listening
from tests.support.paced_engine import PacedEngine
from tests.support.relays import PATHS, relaying


def asking(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_the_relay_says_what_it_serves(between) -> None:
    hello = between.hub.hellos[0]

    assert (hello.instance, hello.paths) == ("instance", tuple(PATHS))
    assert (hello.hub, hello.bodies) == ("", {})
    assert len(hello.link) >= 16
    assert len(hello.run) >= 16


async def test_a_credential_is_shown_once_and_then_the_hub_s_session(between) -> None:
    between.hub.cut()
    await between.hub.linked(2)
    await between.hub.renew("renewed")
    await (await between.hub.ask()).whole()
    between.hub.cut()
    await between.hub.linked(3)

    assert between.hub.tokens == ["credential-1", "session-1", "renewed"]


async def test_a_session_that_has_ended_is_not_shown() -> None:
    async with (
        listening(PacedEngine()) as socket,
        hub_that_asks() as (hub, address),
        relaying(socket, address),
    ):
        hub.session_s = 5.0
        await hub.linked()
        hub.cut()
        await hub.linked(2)

        assert hub.tokens == ["credential-1", "credential-2"]


async def test_a_refused_session_is_replaced_by_a_new_credential_and_the_link_goes_on(
    between,
) -> None:
    asked = await between.hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
    await asked.until(10)
    between.hub.refusals.append(401)

    between.hub.cut()
    between.engine.go.set()

    assert await asked.whole() == between.engine.served["r-1"].said
    assert between.hub.tokens == ["credential-1", "session-1", "credential-2"]
    assert between.hub.resumed == [False, True]


@pytest.mark.parametrize("statuses", [[401, 401], [403], [400], [503, 503, 502], [429]])
async def test_a_refused_relay_tries_again_with_a_new_credential(statuses: list[int]) -> None:
    async with listening(PacedEngine()) as socket, hub_that_asks() as (hub, address):
        hub.refusals.extend(statuses)
        async with relaying(socket, address):
            await hub.linked()
            assert await (await hub.ask()).whole()

    assert hub.tokens == [f"credential-{n + 1}" for n in range(len(statuses) + 1)]


async def test_what_goes_on_happening_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hotnode.relay")
    async with listening(PacedEngine()) as socket, hub_that_asks() as (hub, address):
        hub.refusals.extend([503] * 3)
        async with relaying(socket, address):
            await hub.linked()

    lines = [record.getMessage() for record in caplog.records]
    assert sum("link_refused" in line and "503" in line for line in lines) == 1
    assert not any("credential" in line for line in lines)


async def test_a_hub_that_speaks_another_version_is_not_spoken_to() -> None:
    async with listening(PacedEngine()) as socket, hub_that_asks() as (hub, address):
        hub.subprotocols = ("hotnode-relay.v9",)
        async with relaying(socket, address):
            await hub.until(lambda: len(hub.tokens) > 1)

    assert hub.hellos == []


async def test_a_hub_that_does_not_accept_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(PacedEngine()) as socket, hub_that_asks() as (hub, address):
        hub.accepts = False
        async with relaying(socket, address, dial_s=0.1):
            await hub.until(lambda: hub.hellos)
            hub.accepts = True
            await hub.linked()

    assert "no ACCEPT within 0.1 s" in caplog.text


async def test_a_hub_that_accepts_with_nothing_breaks_the_protocol(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(PacedEngine()) as socket, hub_that_asks() as (hub, address):
        hub.accepts, hub.says_instead = False, b""
        async with relaying(socket, address):
            await hub.until(lambda: hub.close_codes)
            hub.accepts = True
            await hub.linked()

    assert hub.close_codes[0] == 1002
    assert "link_ended" in caplog.text
    assert "relay_restarts" not in caplog.text


async def test_a_hub_that_is_away_is_dialled_until_it_is_back() -> None:
    async with hub_that_asks() as (_, address):
        pass
    port = int(address.split(":")[2].partition("/")[0])
    async with listening(PacedEngine()) as socket, relaying(socket, address):
        await asyncio.sleep(0.1)  # some attempts
        async with hub_that_asks(port=port) as (hub, _):
            await hub.linked()
            assert await (await hub.ask()).whole()


async def test_a_hub_that_gives_no_sign_of_life_is_dialled_again() -> None:
    engine = PacedEngine()
    async with (
        listening(engine) as socket,
        hub_that_asks() as (hub, address),
    ):
        hub.answers_pings = False
        async with relaying(socket, address, ping_every_s=0.1):
            await hub.linked()
            asked = await hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
            await asked.until(10)
            hub.answers_pings = True
            await hub.linked(2)
            engine.go.set()

            assert await asked.whole() == engine.served["r-1"].said
    assert hub.resumed == [False, True]


MALFORMED = {
    "a kind that does not exist": b"\xff" + bytes(16),
    "half a header": bytes(5),
    "less than its length says": frames.encoded(Frame(FrameKind.DATA, 1, 0, b"12345"))[:-1],
    "a frame of the relay's": frames.encoded(Frame(FrameKind.HEAD, 1)),
    "a second ACCEPT": frames.encoded(Frame(FrameKind.ACCEPT)),
    "a request of no stream": frames.encoded(Frame(FrameKind.REQUEST, 0, 1, b"{}")),
    "a request that is none": frames.encoded(Frame(FrameKind.REQUEST, 1, 1, b"[]")),
    "a renewal that is none": frames.encoded(Frame(FrameKind.RENEW, payload=b"{}")),
    "text": "text",
    "too much data": frames.encoded(Frame(FrameKind.DATA, 1, 0, bytes(MAX_DATA + 1))),
    "too long a message": bytes(MAX_MESSAGE + 1),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_breaks_the_protocol_ends_the_link(
    between, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = await between.hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
    await asked.until(10)

    await between.hub.say(MALFORMED[name])
    await between.hub.until(lambda: between.hub.close_codes)

    assert between.hub.close_codes == [1009 if name == "too long a message" else 1002]
    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()
    await between.hub.linked(2)
    assert "link_ended" in caplog.text
    assert between.hub.resumed == [False, False]
    assert await (await between.hub.ask()).whole()


@pytest.mark.parametrize("fault", ["gap", "too long", "twice", "early ack", "wrong place"])
async def test_what_contradicts_itself_ends_the_link(between, fault: str) -> None:
    asked = await between.hub.ask(b"{} ", sends=1)
    number = asked.number
    wrong = {
        "gap": Frame(FrameKind.DATA, number, 2, b" "),
        "too long": Frame(FrameKind.DATA, number, 1, b"} too long"),
        "twice": Frame(FrameKind.REQUEST, number, 0, asked.request.to_payload()),
        "early ack": Frame(FrameKind.ACK, number),
        "wrong place": Frame(FrameKind.CREDIT, 0, 5),
    }

    await between.hub.send(wrong[fault])
    await between.hub.until(lambda: between.hub.close_codes)

    assert between.hub.close_codes == [1002]


async def test_frames_of_streams_that_are_over_are_passed_over(between) -> None:
    asked = await between.hub.ask()
    await asked.whole()
    kinds = (FrameKind.DATA, FrameKind.CREDIT, FrameKind.ACK, FrameKind.CANCEL)

    await between.hub.send(*(Frame(kind, asked.number) for kind in kinds))

    assert await (await between.hub.ask()).whole()
    assert between.hub.close_codes == []


async def test_a_body_that_comes_twice_in_parts_is_taken_once(between) -> None:
    asked = await between.hub.ask(asking(tokens=1, text="abc"), sends=10, request_id="r-1")
    rest = [Frame(FrameKind.DATA, asked.number, at, asked.body[at : at + 7]) for at in range(4, 40)]
    rest = [frame for frame in rest if frame.payload and frame.offset + 7 <= len(asked.body)]

    await between.hub.send(*rest)

    await asked.whole()
    assert between.engine.served["r-1"].asked["text"] == "abc"


async def test_a_hub_that_hangs_up_with_a_word_wants_nothing_any_more(between) -> None:
    asked = await between.hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
    await asked.until(10)

    await between.hub.close(1001)

    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()
    await between.hub.linked(2)
    assert between.hub.resumed == [False, False]


async def test_a_draining_relay_finishes_what_it_has_and_takes_nothing_new(between) -> None:
    under_way = await between.hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
    await under_way.until(10)

    between.relay.drain()
    waiting = asyncio.create_task(between.relay.drained(30.0))
    await between.hub.until(between.hub.drained.is_set)
    refused = await between.hub.ask()
    assert (await refused.failed()).code is FailureCode.DRAINING
    assert not waiting.done()
    between.engine.go.set()

    assert await under_way.whole() == between.engine.served["r-1"].said
    async with asyncio.timeout(10):
        await waiting


async def test_a_drain_survives_a_cut_and_does_not_last_for_ever(between) -> None:
    under_way = await between.hub.ask(asking(tokens=4, pause_at=2))
    await under_way.until(10)
    between.relay.drain()
    await between.hub.until(between.hub.drained.is_set)
    between.hub.drained.clear()

    between.hub.cut()
    await between.hub.linked(2)
    await between.hub.until(between.hub.drained.is_set)
    assert between.relay.in_flight == 1
    assert not await between.relay.drained(0.05)


async def test_a_relay_that_stops_hangs_up_on_engine_and_hub(between) -> None:
    asked = await between.hub.ask(asking(tokens=4, pause_at=2), request_id="r-1")
    await asked.until(10)

    await between.relay.stop()

    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()
    await between.hub.until(lambda: between.hub.close_codes)
    assert between.hub.close_codes == [1001]


async def test_a_hub_that_says_nothing_is_not_told_that_the_relay_stops() -> None:
    """It may have the link's streams, and we shall go on with them."""
    async with (
        listening(PacedEngine()) as socket,
        hub_that_asks() as (hub, address),
    ):
        hub.accepts = False
        async with relaying(socket, address, dial_s=0.1):
            await hub.until(lambda: hub.close_codes)
            assert set(hub.close_codes) == {1000}


async def test_a_new_link_hears_of_the_load_at_once(between) -> None:
    await between.hub.until(lambda: between.hub.loads)
    between.hub.cut()
    await between.hub.linked(2)
    await between.hub.until(lambda: len(between.hub.loads) > 1)

    assert between.hub.loads[1] == EngineLoad(running=1.0, waiting=0.0)
