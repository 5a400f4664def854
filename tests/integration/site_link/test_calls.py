"""Calls on a site link: what becomes of them when agents are old, slow or gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from compute_functions.contract import JsonObject, site_link
from compute_functions.contract.batches import MOST_PIECE, BatchFile, PieceCall
from compute_functions.contract.site_calls import MOST_CALLS, CallAnswer, SiteCall
from compute_functions.contract.site_link import MessageKind
from compute_functions.site_agent.calls import Calls
from resource_server.adapters.site_link.calls import LinkCalls
from resource_server.domain import errors
from tests.support.agent_links import agent_link
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import ScriptedAgent, SiteHub, instance, status

SITE, FUNCTION = "local", "run_batch"
PLACE = (SITE, FRAMEWORK, MODEL)


def calling(hub: SiteHub, wire: JsonObject | None = None) -> asyncio.Task[JsonObject]:
    return asyncio.create_task(hub.agents.call(SITE, FUNCTION, wire or {}))


async def offered(hub: SiteHub, agent: ScriptedAgent) -> None:
    await agent.offers(FUNCTION)
    await eventually(lambda: hub.agents.offers(SITE, FUNCTION))


class TestWhoCanBeCalled:
    async def test_an_agent_that_knows_nothing_of_calls_is_not_waited_for(
        self, hub: SiteHub, site: RelaySite
    ) -> None:
        async with hub.agent(site) as agent:
            await agent.observes(instance())
            await eventually(hub.board.known)
            assert not hub.agents.offers(SITE, FUNCTION)
            with pytest.raises(errors.BackendUnavailable):
                await calling(hub)
            assert not agent.calls

    async def test_nor_is_one_that_does_not_know_the_function(
        self, hub: SiteHub, site: RelaySite
    ) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            assert not hub.agents.offers(SITE, "batch_file")

    async def test_nor_one_that_is_gone(self, hub: SiteHub, site: RelaySite) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
        await eventually(lambda: not hub.agents.offers(SITE, FUNCTION))
        with pytest.raises(errors.BackendUnavailable):
            await calling(hub)

    async def test_what_is_longer_than_a_message_may_be_is_not_sent(
        self, hub: SiteHub, site: RelaySite
    ) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            with pytest.raises(errors.BackendUnavailable, match="longer"):
                await calling(hub, {"much": "x" * site_link.MOST_MESSAGE})
            assert not agent.calls
            assert hub.agents.offers(SITE, FUNCTION)


class TestCallsUnderWay:
    async def test_answers_may_come_in_any_order(self, hub: SiteHub, site: RelaySite) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            first, second = calling(hub, {"n": 1}), calling(hub, {"n": 2})
            for call in reversed(await agent.called(2)):
                await agent.answers(call, {"of": call.wire["n"]})
            assert [await first, await second] == [{"of": 1}, {"of": 2}]

    async def test_no_more_are_under_way_than_agreed(self, hub: SiteHub, site: RelaySite) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            tasks = [calling(hub) for _ in range(MOST_CALLS + 1)]
            calls = await agent.called(MOST_CALLS)
            # What the hub says after them has come, and no further call.
            demands = len(agent.demands)
            with hub.board.waiting(PLACE):
                await agent.until(lambda: len(agent.demands) > demands)
            assert len(calls) == MOST_CALLS
            await agent.answers(calls[0], {})
            for call in (await agent.called(MOST_CALLS + 1))[1:]:
                await agent.answers(call, {})
            await asyncio.gather(*tasks)

    async def test_when_the_link_is_lost_they_end_and_may_be_made_again(
        self, hub: SiteHub, site: RelaySite
    ) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            task = calling(hub)
            await agent.called()
        with pytest.raises(errors.BackendInterrupted):
            await task
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            task = calling(hub)
            await agent.answers((await agent.called())[0], {"done": True})
            assert await task == {"done": True}

    async def test_those_of_an_agent_that_another_replaces_end_too(
        self, hub: SiteHub, site: RelaySite
    ) -> None:
        async with hub.agent(site) as first:
            await offered(hub, first)
            task = calling(hub)
            await first.called()
            async with hub.agent(site):
                with pytest.raises(errors.BackendInterrupted):
                    await task
                assert not hub.agents.offers(SITE, FUNCTION)

    async def test_an_answer_for_nobody_is_dropped(self, hub: SiteHub, site: RelaySite) -> None:
        async with hub.agent(site) as agent:
            await offered(hub, agent)
            task = calling(hub)
            (call,) = await agent.called()
            task.cancel()
            await asyncio.wait({task})
            await agent.answers(call, {})
            await agent.answers(SiteCall(id="never", function=FUNCTION, wire={}), {})
            await agent.observes(instance())
            await eventually(hub.board.known)

    @pytest.mark.parametrize("body", ["{}", '{"id": "a", "wire": 7}', '{"id": 1, "wire": {}}'])
    async def test_an_answer_that_is_none_ends_the_link(
        self, hub: SiteHub, site: RelaySite, body: str
    ) -> None:
        async with hub.agent(site) as agent:
            await agent.socket.send_str('{"kind": "answer", "body": ' + body + "}")
            assert await agent.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR


class TestPatience:
    async def test_an_answer_that_does_not_come_is_an_error_and_its_place_is_free(self) -> None:
        sent: list[str] = []

        async def send(text: str) -> None:
            sent.append(text)

        calls = LinkCalls(SITE, send, within_s=0.02)
        for _ in range(MOST_CALLS + 1):
            with pytest.raises(errors.BackendTimeout):
                await calls.call(FUNCTION, {})
        assert len(sent) == MOST_CALLS + 1

    async def test_a_link_that_takes_nothing_is_an_error(self) -> None:
        async def send(text: str) -> None:
            raise ConnectionResetError

        with pytest.raises(errors.BackendInterrupted):
            await LinkCalls(SITE, send).call(FUNCTION, {})

    async def test_one_that_is_lost_while_a_call_is_sent_is_an_error(self) -> None:
        calls: LinkCalls | None = None

        async def send(text: str) -> None:
            assert calls is not None
            calls.end()

        calls = LinkCalls(SITE, send)
        with pytest.raises(errors.BackendInterrupted):
            await calls.call(FUNCTION, {})
        with pytest.raises(errors.BackendInterrupted):
            await calls.call(FUNCTION, {})


class FunctionThatHolds:
    """Gives as much as a piece of a file holds, once a test lets it."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, wire: JsonObject) -> JsonObject:
        self.begun.set()
        assert self.released.wait(30)
        return wire


@pytest.fixture
def held() -> Iterator[FunctionThatHolds]:
    function = FunctionThatHolds()
    yield function
    function.released.set()


class TestBesideTheRest:
    async def test_calls_that_last_hold_up_neither_what_is_wished_nor_what_is_observed(
        self, hub: SiteHub, site: RelaySite, tmp_path: Path, held: FunctionThatHolds
    ) -> None:
        calls = Calls({FUNCTION: held})
        piece = PieceCall(
            batch="batch_00000001", file=BatchFile.INPUT, offset=0, content=b"\xff" * MOST_PIECE
        ).to_wire()
        async with agent_link(hub.port, site, tmp_path, calls) as (agent, link):
            await eventually(lambda: hub.agents.offers(SITE, FUNCTION))
            under_way = [calling(hub, piece) for _ in range(MOST_CALLS)]
            await eventually(held.begun.is_set)
            wishes = agent.wishes
            with hub.board.waiting(PLACE):
                await eventually(lambda: agent.wishes > wishes)
            agent.observation = status(instance())
            link.tell()
            await eventually(lambda: hub.board.serves(PLACE))
            assert not any(task.done() for task in under_way)
            held.released.set()
            assert await asyncio.gather(*under_way) == [piece] * MOST_CALLS

    async def test_an_old_hub_passes_over_what_an_agent_offers(self) -> None:
        # Hubs before calls read only kinds that they knew, and passed over all others.
        text = site_link.message(MessageKind.ANSWER, CallAnswer(id="a", wire={}))
        assert site_link.read(text.replace('"answer"', '"of a later version"')) is None
