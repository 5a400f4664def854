"""Links that are cut at the worst moments: no byte is lost, and none comes twice."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from compute_functions.contract.frames import WINDOW, FrameKind
from tests.support.asking_hub import hub_that_asks
from tests.support.engine_doubles import listening
from tests.support.eventually import eventually
from tests.support.paced_engine import PacedEngine
from tests.support.relays import relaying


def asking(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def test_a_stream_goes_on_after_a_cut(between) -> None:
    asked = await between.hub.ask(asking(tokens=40, pause_at=20), request_id="r-1")
    await asked.until(200)

    between.hub.cut()
    between.engine.go.set()
    said = await asked.whole()

    assert said == between.engine.served["r-1"].said
    assert between.hub.resumed == [False, True]
    assert between.hub.hellos[0].link == between.hub.hellos[1].link
    assert between.hub.hellos[1].hub == between.hub.name


@pytest.mark.parametrize("lost", [FrameKind.HEAD, FrameKind.DATA, FrameKind.END])
async def test_what_was_lost_with_the_link_is_sent_again(between, lost: FrameKind) -> None:
    between.hub.loses.append(lost)
    asked = await between.hub.ask(asking(tokens=30), request_id="r-1")

    said = await asked.whole()

    assert said == between.engine.served["r-1"].said
    assert between.hub.resumed == [False, True]


async def test_a_lost_error_is_sent_again(between) -> None:
    between.hub.loses.append(FrameKind.ERROR)
    asked = await between.hub.ask(asking(tokens=5, break_at=3), request_id="r-1")

    await asked.failed()

    assert asked.said == between.engine.served["r-1"].said


async def test_a_link_may_be_cut_within_a_request_s_body(between) -> None:
    body = asking(tokens=2, text="x" * 300_000)
    asked = await between.hub.ask(body, sends=100_000, request_id="r-1")
    await eventually(lambda: between.hub.loads)  # it has had time to come; either way is right

    between.hub.cut()
    await asked.whole()

    assert between.engine.served["r-1"].asked["text"] == "x" * 300_000


async def test_a_request_that_was_lost_with_the_link_is_sent_again(between) -> None:
    asked = await between.hub.ask(asking(tokens=2), request_id="r-1")
    between.hub.cut()

    assert await asked.whole() == between.engine.served["r-1"].said


async def test_a_full_window_survives_a_cut(between) -> None:
    asked = await between.hub.ask(asking(tokens=20, pad=100_000), request_id="r-1", reads=False)
    await asked.until(WINDOW)

    between.hub.cut()
    await between.hub.linked(2)
    asked.reads = True
    await between.hub.credit(asked, 2 * WINDOW)

    assert await asked.whole() == between.engine.served["r-1"].said


async def test_many_cuts_lose_nothing(between) -> None:
    dice = random.Random(4)  # noqa: S311 # the same cuts each time
    bodies = [asking(tokens=60, every_s=0.002, pad=dice.choice([0, 10, 5000])) for _ in range(20)]
    asked = [await between.hub.ask(body) for body in bodies]
    for cuts in range(2, 8):
        await asyncio.sleep(dice.uniform(0, 0.02))
        between.hub.cut()
        await between.hub.linked(cuts)

    for one in asked:
        assert await one.whole() == between.engine.served[one.request.request_id].said


async def test_a_hub_that_was_started_anew_wants_none_of_the_old_streams(between) -> None:
    asked = await between.hub.ask(asking(tokens=5, pause_at=2), request_id="r-1")
    await asked.until(10)

    between.hub.restart()
    await between.hub.linked(2)

    async with asyncio.timeout(10):
        await between.engine.served["r-1"].hung_up.wait()
    assert between.hub.resumed == [False, False]
    assert await (await between.hub.ask(asking(tokens=1))).whole()


async def test_streams_that_the_hub_gave_up_while_the_link_was_cut_are_cancelled(between) -> None:
    kept = await between.hub.ask(asking(tokens=5, pause_at=2), request_id="kept")
    given_up = await between.hub.ask(asking(tokens=5, pause_at=2), request_id="given up")
    await kept.until(10)
    await given_up.until(10)

    between.hub.cut()
    between.hub.give_up(given_up)
    await between.hub.linked(2)

    async with asyncio.timeout(10):
        await between.engine.served["given up"].hung_up.wait()
    between.engine.go.set()
    assert await kept.whole() == between.engine.served["kept"].said


async def test_a_link_that_stays_cut_is_given_up() -> None:
    engine = PacedEngine()
    async with (
        listening(engine) as socket,
        hub_that_asks() as (hub, address),
        relaying(socket, address, resume_within_s=0.05),
    ):
        await hub.linked()
        asked = await hub.ask(asking(tokens=5, pause_at=2), request_id="r-1")
        await asked.until(10)
        hub.accepts = False
        hub.refusals.extend([503] * 1000)

        hub.cut()
        async with asyncio.timeout(10):
            await engine.served["r-1"].hung_up.wait()
        hub.refusals.clear()
        hub.accepts = True
        await hub.linked(2)

        assert hub.hellos[-1].link != hub.hellos[0].link
        assert hub.resumed == [False, False]


async def test_two_hubs_are_served_and_one_that_dies_harms_no_other() -> None:
    engine = PacedEngine()
    async with (
        listening(engine) as socket,
        hub_that_asks() as (one, one_s),
        hub_that_asks() as (other, other_s),
        relaying(socket, one_s, other_s),
    ):
        await one.linked()
        await other.linked()
        body = asking(tokens=5, pause_at=2)
        dying = await one.ask(body, request_id="dying")
        living = await other.ask(body, request_id="living")
        again = await other.ask(body, request_id="dying")
        await dying.until(10)
        await living.until(10)

        one.refusals.extend([503] * 1000)
        one.restart()
        engine.go.set()

        assert await living.whole() == engine.served["living"].said
        assert (await again.failed()).code == "duplicate"
