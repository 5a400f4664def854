"""The agent's end of the site link: at a hub that does as a test says, and at the gateway's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from yarl import URL

from compute_functions.contract import Demand, DesiredState, InstanceState, SiteStatus, site_link
from compute_functions.contract.site_link import MessageKind
from compute_functions.relay.dialling import dialler
from compute_functions.relay.times import Times
from compute_functions.site_agent import links
from compute_functions.site_agent.credentials import AgentCredentials
from compute_functions.site_agent.site_link import Agent, SiteLink
from tests.support import slurm_site
from tests.support.agent_in_memory import AgentPlant
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.scripted_hub import Opening, ScriptedHub
from tests.support.site_links import SiteHub, instance, kept_catalog, site_hub, status

TIMES = Times(
    dial_s=5.0, first_pause_s=0.01, longest_pause_s=0.05, refused_pause_s=0.01, steady_s=0.0
)
DESIRED = DesiredState(generation=1, revision=2)
DEMAND = Demand(hub="hub")


@dataclass(slots=True)
class SomeAgent:
    """An agent that does nothing, and remembers what it was told."""

    observation: SiteStatus | None = field(default_factory=status)
    said: list[DesiredState | Demand] = field(default_factory=list)

    def wish(self, said: DesiredState | Demand) -> None:
        self.said.append(said)


@pytest.fixture
def site() -> RelaySite:
    return RelaySite.enrolled()


@pytest.fixture
def credentials(site: RelaySite, tmp_path: Path) -> AgentCredentials:
    key = tmp_path / "site.key"
    key.write_bytes(site.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return AgentCredentials(key, site.cluster)


@pytest.fixture
def agent() -> SomeAgent:
    return SomeAgent()


@asynccontextmanager
async def linked(
    agent: Agent,
    credentials: AgentCredentials,
    *hubs: URL,
    silent_s: float = 15.0,
    most_message: int = site_link.MOST_MESSAGE,
) -> AsyncIterator[list[SiteLink]]:
    made = [
        SiteLink(hub, agent=agent, credentials=credentials, times=TIMES, silent_s=silent_s)
        for hub in hubs
    ]
    async with dialler(
        TIMES, "", protocol=site_link.SUBPROTOCOL, most_message=most_message
    ) as dials:
        running = [asyncio.create_task(link.run(dials)) for link in made]
        try:
            yield made
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            assert all(task.cancelled() for task in running)


async def accept_and_end(opening: Opening) -> None:
    await opening.accept("first")


def saying(*texts: str | bytes) -> Callable[[Opening], Awaitable[None]]:
    """Return a conversation in which the hub says what it should not."""

    async def act(opening: Opening) -> None:
        await opening.accept()
        for text in texts:
            if isinstance(text, bytes):
                await opening.socket.send_bytes(text)
            else:
                await opening.socket.send_str(text)
        await opening.hear_to_the_end()

    return act


class TestAtAScriptedHub:
    @pytest.mark.parametrize("refusal", [400, 401, 403, 429, 500, 503])
    async def test_who_is_refused_comes_again(
        self, agent: SomeAgent, credentials: AgentCredentials, refusal: int
    ) -> None:
        hub = ScriptedHub(refusal, refusal)
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: link.is_open)
        assert len(hub.tokens) == len(set(hub.tokens)) == 3

    async def test_it_shows_what_the_hub_wants_to_see(
        self, agent: SomeAgent, credentials: AgentCredentials, site: RelaySite
    ) -> None:
        hub = ScriptedHub()
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: link.is_open)
        claims = jwt.decode(
            hub.tokens[0], site.key.public_key(), algorithms=["EdDSA"], audience="hotnode-hub"
        )
        assert (claims["iss"], claims["role"]) == (site.cluster, "site")
        assert claims["exp"] - claims["iat"] == 300

    async def test_a_session_opens_the_next_link_and_one_that_is_not_good_is_dropped(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        hub = ScriptedHub(accept_and_end, 401)
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: len(hub.tokens) == 3 and link.is_open)
        assert hub.tokens[1] == "first"
        assert hub.tokens[2] not in hub.tokens[:2]

    async def test_a_session_is_renewed(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        async def renew(opening: Opening) -> None:
            await opening.accept("first")
            said = site_link.Accepted(hub="hub", session="second", session_s=3600.0)
            await opening.socket.send_str(site_link.message(MessageKind.RENEW, said))
            await opening.hear()

        hub = ScriptedHub(renew)
        async with hub.listening() as url, linked(agent, credentials, url):
            await eventually(lambda: len(hub.tokens) == 2)
        assert hub.tokens[1] == "second"

    async def test_a_silent_hub_is_left_and_dialled_again(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        hub = ScriptedHub()
        async with hub.listening() as url, linked(agent, credentials, url, silent_s=0.2):
            await eventually(lambda: len(hub.tokens) >= 2)

    @pytest.mark.parametrize(
        "said",
        [
            "{",
            "[]",
            '{"kind": 3}',
            '{"kind": "desired", "body": {"v": 1}}',
            '{"kind": "demand", "body": {"v": 99}}',
            '{"kind": "accept", "body": null}',
            site_link.message(MessageKind.OBSERVED, status()),
            b"bytes",
            "[" * 90_000,
        ],
    )
    async def test_what_the_protocol_does_not_know_ends_the_link_with_a_word(
        self, agent: SomeAgent, credentials: AgentCredentials, said: str | bytes
    ) -> None:
        hub = ScriptedHub(saying(said))
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: len(hub.tokens) == 2 and link.is_open)
        assert hub.closed[0] == 1002
        assert agent.said == []

    async def test_what_ends_one_link_after_the_other_is_told_of_each(
        self, agent: SomeAgent, credentials: AgentCredentials, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub = ScriptedHub(saying(b"bytes"), saying(b"bytes"))
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: len(hub.tokens) == 3 and link.is_open)
        warnings = [line for line in caplog.records if line.levelno == logging.WARNING]
        assert len(warnings) == 2

    async def test_a_message_that_is_too_long_ends_it_too(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        hub = ScriptedHub(saying("x" * 5_000))
        async with (
            hub.listening() as url,
            linked(agent, credentials, url, most_message=4_096) as (link,),
        ):
            await eventually(lambda: len(hub.tokens) == 2 and link.is_open)

    async def test_kinds_of_a_later_version_are_passed_over(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        desired = site_link.message(MessageKind.DESIRED, DESIRED)
        hub = ScriptedHub(saying('{"kind": "colour", "body": "blue"}', desired))
        async with hub.listening() as url, linked(agent, credentials, url):
            await eventually(lambda: agent.said == [DESIRED])
        assert len(hub.tokens) == 1

    async def test_each_change_is_told_at_once(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        heard: list[SiteStatus] = []

        async def listen(opening: Opening) -> None:
            await opening.accept()
            while True:
                heard.append(await opening.hear())

        hub = ScriptedHub(listen)
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            await eventually(lambda: len(heard) == 1)
            agent.observation = status(instance(InstanceState.QUEUED))
            link.tell()
            await eventually(lambda: len(heard) == 2, seconds=site_link.HEARTBEAT_S / 2)
        assert heard[1] == agent.observation

    async def test_thousands_of_instances_are_told_of(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        agent.observation = status(*(instance(job_id=str(n)) for n in range(5_000)))
        heard: list[SiteStatus] = []

        async def listen(opening: Opening) -> None:
            await opening.accept()
            heard.append(await opening.hear())

        hub = ScriptedHub(listen)
        async with hub.listening() as url, linked(agent, credentials, url):
            await eventually(lambda: heard)
        assert len(heard[0].instances) == 5_000

    async def test_of_two_hubs_one_may_be_away(
        self, agent: SomeAgent, credentials: AgentCredentials
    ) -> None:
        there = ScriptedHub()
        async with ScriptedHub().listening() as away:
            pass
        async with there.listening() as url, linked(agent, credentials, away, url) as both:
            await eventually(lambda: both[1].is_open)
            assert not both[0].is_open
            async with ScriptedHub().listening(away.port or 0):
                await eventually(lambda: both[0].is_open)
            await eventually(lambda: not both[0].is_open)
            assert both[1].is_open

    async def test_a_key_that_cannot_sign_ends_nothing(
        self, agent: SomeAgent, credentials: AgentCredentials, tmp_path: Path
    ) -> None:
        hub = ScriptedHub()
        key = tmp_path / "site.key"
        good = key.read_bytes()
        key.write_text("no key")
        async with hub.listening() as url, linked(agent, credentials, url) as (link,):
            key.write_bytes(good)
            await eventually(lambda: link.is_open)


@pytest.fixture
async def hub(site: RelaySite, tmp_path: Path) -> AsyncIterator[SiteHub]:
    async with site_hub(kept_catalog(site), tmp_path) as running:
        yield running


def url_of(hub: SiteHub) -> URL:
    return URL(f"ws://127.0.0.1:{hub.port}{site_link.PATH}")


class TestAtTheGatewaysHub:
    async def test_wishes_come_and_what_is_observed_arrives(
        self, hub: SiteHub, agent: SomeAgent, credentials: AgentCredentials, site: RelaySite
    ) -> None:
        agent.observation = status(instance())
        async with linked(agent, credentials, url_of(hub)):
            await eventually(lambda: len(agent.said) >= 2)
            assert {type(one) for one in agent.said} == {DesiredState, Demand}
            assert hub.board.is_linked(site.cluster)
        await eventually(lambda: not hub.board.is_linked(site.cluster))

    async def test_sessions_last_for_as_long_as_the_link_does(
        self, site: RelaySite, agent: SomeAgent, credentials: AgentCredentials, tmp_path: Path
    ) -> None:
        async with (
            site_hub(kept_catalog(site), tmp_path, session_s=1.0) as hub,
            linked(agent, credentials, url_of(hub)) as (link,),
        ):
            await eventually(lambda: link.is_open)
            await asyncio.sleep(1.5)  # Longer than a session.
            assert link.is_open
            assert hub.board.is_linked(site.cluster)

    @pytest.mark.row("L-28")
    async def test_a_request_that_waits_brings_a_job_at_once(
        self, site: RelaySite, credentials: AgentCredentials, tmp_path: Path
    ) -> None:
        """From the hub's word to the scheduler: no look is waited for."""
        plant = AgentPlant(tmp_path / "plant")
        slurm_site.write_model(tmp_path / "plant", "model.yaml", id=MODEL)
        catalog = kept_catalog(site, min=0, max=1)
        async with site_hub(catalog, tmp_path) as hub, plant.begun(poll_s=0.5) as agent:
            working = asyncio.create_task(agent.run())
            try:
                async with linked(agent, credentials, url_of(hub)):
                    await eventually(lambda: "no gateway" not in plant.trouble)
                    assert plant.scheduler.submissions == []
                    with hub.board.waiting((site.cluster, FRAMEWORK, MODEL)):
                        await eventually(lambda: plant.scheduler.submissions, seconds=5)
            finally:
                working.cancel()
                await asyncio.wait({working})


def test_the_address_keeps_a_gateways_own_path() -> None:
    for hub, expected in (
        ("wss://g.example.org/relay/v1/connect", "wss://g.example.org/relay/v1/site"),
        ("wss://g.example.org/ai/relay/v1/connect", "wss://g.example.org/ai/relay/v1/site"),
        ("ws://127.0.0.1:9/", "ws://127.0.0.1:9/relay/v1/site"),
    ):
        assert str(links.address(hub)) == expected
