"""What a hub knows of its sites: how they are reached, and what they have that takes requests."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from compute_functions.contract import ModelOutlook
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.lifecycle import Observation, Post, Reach
from resource_server.services.jobs import Jobs
from resource_server.services.observed_sites import ObservedSites
from resource_server.services.site_board import GRACE_S, SiteBoard
from tests.support.catalogs import cluster, model
from tests.support.doubles import person
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import instance, kept_catalog, status

POST = (FRAMEWORK, MODEL)
PLACE = ("local", *POST)


class RelaysThatTake:
    """Relays that take requests for some posts of one cluster."""

    def __init__(self) -> None:
        self.taken: list[Post] = []

    def serves(self, place: tuple[str, str, str]) -> bool:
        return place[0] == "local" and place[1:] in self.taken

    def posts(self, cluster: str) -> list[Post]:
        return list(self.taken) if cluster == "local" else []


class SiteThatCannotBeAsked:
    """Fails every question."""

    async def observe(self, cluster: Cluster) -> Observation:
        raise errors.BackendUnavailable("It is away.")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def relays() -> RelaysThatTake:
    return RelaysThatTake()


@pytest.fixture
def board(clock: Clock, relays: RelaysThatTake) -> SiteBoard:
    return SiteBoard("hub", relays=relays, monotonic=clock)


def reach(board: SiteBoard) -> Reach:
    return board.view("local").reach


class TestReach:
    def test_a_site_that_was_never_heard_is_away_after_a_while(self, board, clock):
        assert reach(board) is Reach.UNKNOWN
        clock.now += GRACE_S + 1
        assert reach(board) is Reach.AWAY

    def test_one_whose_link_is_lost_may_dial_again(self, board, clock):
        clock.now += 1000
        board.link("local")
        assert reach(board) is Reach.LINKED
        board.unlink("local")
        assert reach(board) is Reach.UNKNOWN
        clock.now += GRACE_S + 1
        assert reach(board) is Reach.AWAY

    def test_what_tasks_said_counts_until_there_is_a_link(self, board):
        board.take_answer("local", status())
        assert reach(board) is Reach.BY_TASK
        board.take_answer("local", None)
        assert reach(board) is Reach.AWAY
        board.link("local")
        board.unlink("local")
        assert reach(board) is Reach.UNKNOWN


class TestServing:
    def test_nobody_knows_before_the_site_has_spoken(self, board):
        board.link("local")
        assert board.serves(PLACE) is None
        board.take_status("local", status())
        assert board.serves(PLACE) is False
        board.take_status("local", status(instance()))
        assert board.serves(PLACE) is True

    def test_what_was_said_on_a_link_that_is_lost_counts_no_more(self, board):
        board.link("local")
        board.take_status("local", status(instance()))
        board.unlink("local")
        assert board.serves(PLACE) is None
        assert board.view("local").ready == frozenset()
        assert board.view("local").observation is not None

    def test_a_relay_that_takes_requests_is_enough(self, board, relays):
        number = board.view("local").number
        relays.taken.append(POST)
        board.note_relay("local")
        assert board.serves(PLACE) is True
        assert board.view("local").ready == {POST}
        assert board.view("local").number > number


def test_an_agents_trouble_is_written_down_once_and_its_end_too(
    board: SiteBoard, caplog: pytest.LogCaptureFixture
):
    def said(trouble: str) -> None:
        fine = status()
        assert fine.agent is not None
        board.take_status("local", replace(fine, agent=replace(fine.agent, trouble=trouble)))

    with caplog.at_level(logging.INFO):
        for trouble in ("", "no squeue", "no squeue", ""):
            said(trouble)
    found = [record for record in caplog.records if record.message == "site_agent_trouble"]
    assert [(record.levelname, record.trouble) for record in found] == [
        ("WARNING", "no squeue"),
        ("INFO", ""),
    ]


def test_all_that_a_site_is_to_know_is_one_value(board: SiteBoard):
    assert board.wishes("local").desired is None
    board.take_catalog(kept_catalog(RelaySite.enrolled(), version=4))
    wishes = board.wishes("local")
    assert wishes.desired is not None
    assert wishes.desired.version == (1, 4)
    assert wishes.demand is not None
    assert wishes.demand.hub == "hub"
    assert board.clusters() == ["local"]


class TestReports:
    def test_an_answer_to_a_task_that_comes_late_does_not_replace_what_a_link_said(self, board):
        board.link("local")
        seen = board.take_status("local", status(instance()))
        board.take_answer("local", status())
        board.take_answer("local", None)
        assert board.known()["local"] is seen
        assert board.serves(PLACE) is True
        board.unlink("local")
        assert reach(board) is Reach.UNKNOWN

    def test_an_answer_before_the_link_has_spoken_is_better_than_nothing(self, board):
        board.link("local")
        seen = board.take_answer("local", status(instance()))
        assert board.known()["local"] is seen

    def test_a_site_speaks_of_its_own_models_alone(self, board):
        board.take_catalog(kept_catalog(RelaySite.enrolled()))
        board.link("local")
        strange = [instance(model=f"m{at}") for at in range(50)]
        outlooks = [ModelOutlook(model="m1", framework=FRAMEWORK)]
        board.take_status("local", status(instance(), *strange, outlooks=outlooks))
        found = board.known()["local"]
        assert {one.model for one in found.instances} == {MODEL}
        assert found.outlooks == ()
        assert board.view("local").ready == {POST}


class TestObservers:
    async def test_a_site_with_a_link_is_not_asked(self, board: SiteBoard):
        sites = ObservedSites(board, SiteThatCannotBeAsked())
        with pytest.raises(errors.BackendUnavailable):
            await sites.observe(cluster())
        board.link("local")
        with pytest.raises(errors.BackendUnavailable):
            await sites.observe(cluster())
        seen = board.take_status("local", status(instance()))
        assert await sites.observe(cluster()) is seen

    async def test_jobs_of_a_site_that_cannot_be_asked_are_the_last_that_were_seen(
        self, board: SiteBoard
    ):
        catalog = Catalog([cluster()], [model(MODEL)])
        jobs = Jobs(lambda: catalog, SiteThatCannotBeAsked(), board)
        alice = person("alice@example.org")
        with pytest.raises(errors.BackendUnavailable):
            await jobs.at(alice, "local")
        seen = board.take_status("local", status(instance()))
        found = await jobs.at(alice, "local")
        assert found.instances == seen.instances
        assert found.observed_at == seen.observed_at
        assert not found.silent
