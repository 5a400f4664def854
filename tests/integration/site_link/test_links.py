"""Sites' agents dial in: who is let in, what each side says, and how a link ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from compute_functions.contract import InstanceState, Stage, site_link
from compute_functions.contract.site_link import MessageKind
from resource_server.adapters.relay.instance import RelayInstance
from resource_server.adapters.relay.sessions import Sessions
from resource_server.adapters.site_link.link import LinkTimes
from resource_server.domain.catalog import Catalog
from resource_server.domain.lifecycle import Reach
from resource_server.services.demand import Waiters
from tests.support.eventually import eventually
from tests.support.relay_double import Dialler
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import (
    ScriptedAgent,
    SiteHub,
    instance,
    kept_catalog,
    site_hub,
    status,
)

PLACE = ("local", FRAMEWORK, MODEL)


class TestWhoIsLetIn:
    async def test_an_agent_with_its_sites_credential_once(self, hub: SiteHub, site: RelaySite):
        token = site.agent_credential()
        async with ScriptedAgent.dialled(hub.port, token) as agent:
            assert agent.accepted[0].hub == "hub-1"
            assert hub.board.is_linked("local")
        assert await hub.refusal(token) == 401

    async def test_an_agent_with_a_session_again_and_again(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            session = agent.accepted[0].session
        for _ in range(2):
            async with ScriptedAgent.dialled(hub.port, session):
                pass

    async def test_a_relays_credential_and_session_open_no_site_link(
        self, hub: SiteHub, site: RelaySite
    ):
        assert await hub.refusal(site.credential()) == 401
        session, _ = session_of_relay(site)
        assert await hub.refusal(session) == 401

    async def test_an_agents_credential_and_session_open_no_relays_link(
        self, hub: SiteHub, site: RelaySite
    ):
        async with hub.agent(site) as agent:
            session = agent.accepted[0].session
        for token in (site.agent_credential(), session):
            assert await refused_as_relay(hub.port, token) == 401

    async def test_nobody_of_another_site_or_without_a_token(self, hub: SiteHub):
        stranger = RelaySite.enrolled("local")
        assert await hub.refusal(stranger.agent_credential()) == 401
        assert await hub.refusal(RelaySite.enrolled("other").agent_credential()) == 403
        assert await hub.refusal("") == 401

    async def test_the_log_names_the_cluster_whose_key_does_not_fit(
        self, hub: SiteHub, site: RelaySite
    ):
        async with hub.agent(site) as agent:
            session = agent.accepted[0].session
        stranger = RelaySite.enrolled("local")
        with capture_logs() as logs:
            await hub.refusal(stranger.agent_credential())
            await hub.refusal(f"{session}x")
            await refused_as_relay(hub.port, site.agent_credential())
        refused = [entry for entry in logs if entry["event"].endswith("_refused")]
        assert [entry["cluster"] for entry in refused] == ["local"] * 3

    async def test_nobody_before_the_catalog_was_read(self, site: RelaySite, tmp_path: Path):
        async with site_hub(lambda: None, tmp_path) as hub:
            assert await hub.refusal(site.agent_credential()) == 503

    async def test_a_site_that_is_enrolled_no_more_is_sent_away(
        self, site: RelaySite, tmp_path: Path
    ):
        catalogs = [kept_catalog(site)]
        async with site_hub(lambda: catalogs[-1], tmp_path) as hub, hub.agent(site) as agent:
            catalogs.append(Catalog())
            assert await agent.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
            await eventually(lambda: not hub.board.is_linked("local"))


class TestWhatTheHubSays:
    async def test_desired_state_at_once_and_with_every_change(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            await agent.until(lambda: agent.desired)
            (only,) = agent.desired[0].models
            assert (only.model, only.min, only.max) == (MODEL, 0, 1)
            hub.board.take_catalog(kept_catalog(site, version=2, min=1))
            await agent.until(lambda: agent.desired[-1].version == (1, 2))
            assert agent.desired[-1].models[0].min == 1

    async def test_demand_at_once_when_it_begins_and_when_it_ends(
        self, site: RelaySite, tmp_path: Path
    ):
        # An hour between two messages, unless something begins or ends.
        times = LinkTimes(pace_s=3600, heartbeat_s=7200, silent_s=3600)
        async with (
            site_hub(kept_catalog(site), tmp_path, times=times) as hub,
            hub.agent(site) as agent,
        ):
            with hub.board.waiting(PLACE):
                await agent.until_wanted(1)
            await agent.until_wanted(0)
            assert agent.demands[-1].models[0].used_s is not None
            hub.board.demand.began(PLACE)
            await agent.until_wanted(0, 1)
            hub.board.demand.ended(PLACE)
            await agent.until_wanted(0, 0)

    async def test_counts_that_change_between_soon(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            with hub.board.waiting(PLACE):
                await agent.until_wanted(1)
                hub.board.demand.tell("another process", {PLACE: Waiters(waiting=4, asked=4)})
                await agent.until_wanted(5)
                hub.board.demand.forget("another process")
                await agent.until_wanted(1)

    async def test_something_now_and_then_though_nothing_changes(
        self, site: RelaySite, tmp_path: Path
    ):
        times = LinkTimes(together_s=0.01, pace_s=0.02, heartbeat_s=0.05)
        async with (
            site_hub(kept_catalog(site), tmp_path, times=times) as hub,
            hub.agent(site) as agent,
        ):
            await agent.until(lambda: len(agent.demands) > 4)
            assert len(agent.desired) == 1

    async def test_a_new_session_before_the_old_one_ends(self, site: RelaySite, tmp_path: Path):
        times = LinkTimes(together_s=0.01, pace_s=0.02)
        async with (
            site_hub(kept_catalog(site), tmp_path, times=times, session_s=0.2) as hub,
            hub.agent(site) as agent,
        ):
            await agent.until(lambda: len(agent.accepted) > 2)

    async def test_that_a_site_works_by_newer_wishes_than_its_own(
        self, site: RelaySite, tmp_path: Path
    ):
        times = LinkTimes(ahead_s=0.0)
        with capture_logs() as events:
            async with site_hub(kept_catalog(site), tmp_path, times=times) as hub:
                await report_newer_wishes(hub, site)
        said = [event for event in events if event["event"] == "site_has_newer_wishes"]
        assert [(event["theirs"], event["ours"]) for event in said] == [((1, 99), (1, 1))]

    async def test_not_that_another_hub_has_read_the_catalog_a_moment_before(
        self, hub: SiteHub, site: RelaySite
    ):
        with capture_logs() as events:
            await report_newer_wishes(hub, site)
        assert not [event for event in events if event["event"] == "site_has_newer_wishes"]


async def report_newer_wishes(hub: SiteHub, site: RelaySite) -> None:
    """Have an agent say twice that it works by a state that this hub does not know."""
    async with hub.agent(site) as agent:
        await agent.until(lambda: agent.desired)
        for job in ("1", "2"):
            await agent.says(status(instance(job_id=job), version=(1, 99)))
        await eventually(
            lambda: hub.board.known() and hub.board.known()["local"].instances[0].job_id == "2"
        )


class TestWhatTheAgentSays:
    @pytest.mark.row("A-14", "L-13")
    async def test_what_it_observes_is_known_at_once(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            before = hub.board.view("local")
            ahead = 100.0
            await agent.says(status(instance(), observed_at=time.time() + ahead))
            assert await hub.board.changed([before], within_s=20)
            view = hub.board.view("local")
            assert view.reach is Reach.LINKED
            assert view.ready == {(FRAMEWORK, MODEL)}
            assert view.observation is not None
            assert abs(view.observation.observed_at - time.time()) < 20
            assert abs(view.observation.ahead_s - ahead) < 20
            assert hub.board.serves(PLACE) is True

    async def test_only_news_wake_those_who_wait(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            await agent.observes(instance(InstanceState.STARTING, stage=Stage.NODE))
            await eventually(hub.board.known)
            number = hub.board.view("local").number
            seen = hub.board.known()["local"]
            await agent.observes(instance(InstanceState.STARTING, stage=Stage.NODE))
            await eventually(lambda: hub.board.known()["local"] is not seen)
            assert hub.board.view("local").number == number
            await agent.observes(instance(InstanceState.STARTING, stage=Stage.ENGINE))
            await eventually(lambda: hub.board.view("local").number > number)

    async def test_a_report_of_thousands_of_instances_is_taken(self, hub: SiteHub, site: RelaySite):
        async with hub.agent(site) as agent:
            await agent.observes(*(instance(job_id=str(at)) for at in range(3000)))
            await eventually(hub.board.known)
            assert len(hub.board.known()["local"].instances) == 3000

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("{", aiohttp.WSCloseCode.PROTOCOL_ERROR),
            ('{"kind": "observed", "body": {}}', aiohttp.WSCloseCode.PROTOCOL_ERROR),
            ("x" * (site_link.MOST_MESSAGE + 1), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
        ],
        ids=["no-json", "no-status", "too-long"],
    )
    async def test_what_breaks_the_protocol_ends_the_link(
        self, hub: SiteHub, site: RelaySite, text: str, code: int
    ):
        async with hub.agent(site) as agent:
            with suppress(ConnectionError):  # the hub does not read it to its end
                await agent.socket.send_str(text)
            assert await agent.closed() in (code, aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
            await eventually(lambda: not hub.board.is_linked("local"))

    async def test_what_only_a_hub_says_ends_it_too_and_news_from_the_future_does_not(
        self, hub: SiteHub, site: RelaySite
    ):
        async with hub.agent(site) as agent:
            await agent.socket.send_str('{"kind": "weather", "body": {"sun": true}}')
            await agent.observes(instance())
            await eventually(hub.board.known)
            await agent.until(lambda: agent.desired)
            await agent.says(agent.desired[0], MessageKind.DESIRED)
            assert await agent.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR


class TestHowItEnds:
    async def test_a_second_agent_of_the_site_replaces_the_first(
        self, hub: SiteHub, site: RelaySite
    ):
        async with hub.agent(site) as first, hub.agent(site) as second:
            assert await first.closed() == aiohttp.WSCloseCode.GOING_AWAY
            assert hub.board.is_linked("local")
            await second.observes(instance())
            await eventually(lambda: hub.board.serves(PLACE))

    async def test_an_agent_that_is_silent_is_gone(self, site: RelaySite, tmp_path: Path):
        times = LinkTimes(silent_s=0.2)
        async with (
            site_hub(kept_catalog(site), tmp_path, times=times) as hub,
            hub.agent(site) as agent,
        ):
            await agent.closed()
            await eventually(lambda: not hub.board.is_linked("local"))
            # It has just been there, and may come back.
            assert hub.board.view("local").reach is Reach.UNKNOWN

    async def test_a_hub_that_stops_says_so(self, site: RelaySite, tmp_path: Path):
        agents = asyncio.Queue[ScriptedAgent]()

        async def stay(hub: SiteHub) -> int | None:
            async with hub.agent(site) as agent:
                agents.put_nowait(agent)
                return await agent.closed()

        async with site_hub(kept_catalog(site), tmp_path) as hub:
            staying = asyncio.create_task(stay(hub))
            await agents.get()
        assert await staying == aiohttp.WSCloseCode.GOING_AWAY


def session_of_relay(site: RelaySite) -> tuple[str, float]:
    sessions = Sessions(b"s" * 40)
    relay = RelayInstance(
        cluster=site.cluster, instance="i", job="1", framework=FRAMEWORK, model=MODEL
    )
    return sessions.issue(relay, site.public_key), sessions.life_s


async def refused_as_relay(port: int, token: str) -> int:
    async with Dialler.to(port) as dialler:
        return await dialler.refused(token)


class TestFailedInstances:
    async def test_nobody_waits_for_the_relay_of_one_that_its_site_gave_up(
        self, hub: SiteHub, site: RelaySite
    ):
        async with hub.agent(site) as agent, Dialler.to(hub.port) as dialler:
            relay = await dialler.connected(site)
            relay.cut()
            await eventually(lambda: [link.state.value for link in hub.relays] == ["parked"])
            failed = replace(instance(InstanceState.FAILED), name=relay.instance)

            await agent.observes(failed)

            await eventually(lambda: list(hub.relays) == [])
