"""What a hub knows of its sites: how they are reached, and what they have that takes requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from compute_functions.contract import FOR_BATCHES, Instance, InstanceState, ModelOutlook
from compute_functions.reconciler import Policy, Submit, View, decide
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.lifecycle import Observation, Post, Reach
from resource_server.domain.upkeep import Override, Wish
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
        self.lost: set[str] = set()

    def serves(self, place: tuple[str, str, str]) -> bool:
        return place[0] == "local" and place[1:] in self.taken

    def posts(self, cluster: str) -> list[Post]:
        return list(self.taken) if cluster == "local" else []

    def failed(self, cluster: str, instances: Collection[str]) -> None:
        assert cluster == "local"
        self.lost = set(instances)


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

    @pytest.mark.row("C-60")
    def test_one_that_has_not_answered_yet_is_not_away(self, board, clock):
        board.ask("local")
        clock.now += GRACE_S + 1
        assert reach(board) is Reach.UNKNOWN
        board.take_answer("local", None)
        assert reach(board) is Reach.AWAY
        # What it said last counts while it is asked again.
        board.ask("local")
        assert reach(board) is Reach.AWAY

    def test_what_tasks_said_counts_until_there_is_a_link(self, board):
        board.take_answer("local", status())
        assert reach(board) is Reach.BY_TASK
        board.take_answer("local", None)
        assert reach(board) is Reach.AWAY
        board.link("local")
        board.unlink("local")
        assert reach(board) is Reach.UNKNOWN


class TestClocks:
    def ahead_s(self, board: SiteBoard, ahead_s: float) -> float:
        taken = board.take_status("local", status(observed_at=time.time() + ahead_s))
        return round(taken.ahead_s)

    def test_a_report_that_comes_late_is_no_clock_that_was_set(self, board):
        assert self.ahead_s(board, 100) == 100
        assert [self.ahead_s(board, 100 - age_s) for age_s in (5, 0, 3, 20)] == [100] * 4

    def test_one_that_comes_sooner_tells_more(self, board):
        assert self.ahead_s(board, -4) == -4
        assert self.ahead_s(board, 0) == 0
        assert self.ahead_s(board, -4) == 0

    def test_what_is_not_worth_a_word_changes_nothing(self, board):
        first = board.take_status("local", status(observed_at=time.time())).ahead_s
        second = board.take_status("local", status(observed_at=time.time() + 0.2)).ahead_s
        assert first == second

    def test_a_clock_that_is_set_back_is_noticed(self, board):
        assert self.ahead_s(board, 300) == 300
        assert self.ahead_s(board, 0) == 0


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

    def test_what_runs_for_batches_alone_serves_no_caller(self, board):
        board.link("local")
        number = board.view("local").number
        board.take_status("local", status(replace(instance(), purpose=FOR_BATCHES)))
        assert board.serves(PLACE) is False
        view = board.view("local")
        assert view.ready == frozenset()
        # Whoever shows it hears of it, and of nobody else's.
        assert view.number > number
        assert [one.model for one in view.observation.for_batches] == [MODEL]
        board.take_catalog(Catalog([cluster()], [model("another/one")]))
        board.take_status("local", status(replace(instance(), purpose=FOR_BATCHES)))
        assert board.view("local").observation.for_batches == ()

    def test_a_relay_that_takes_requests_is_enough(self, board, relays):
        number = board.view("local").number
        relays.taken.append(POST)
        board.note_relay("local")
        assert board.serves(PLACE) is True
        assert board.view("local").ready == {POST}
        assert board.view("local").number > number


def test_relays_hear_which_instances_have_failed(board: SiteBoard, relays: RelaysThatTake):
    def named(name: str, state: InstanceState) -> Instance:
        return replace(instance(state), name=name)

    failed = named("gone", InstanceState.FAILED)
    # The next one that is started by hand may be called the same.
    by_hand = replace(named("by-hand", InstanceState.FAILED), submitted_at=None)
    board.take_status("local", status(failed, by_hand, named("well", InstanceState.READY)))
    assert relays.lost == {"gone"}
    board.take_answer("local", status(named("gone", InstanceState.READY)))
    assert relays.lost == set()


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
    found: list[Any] = [one for one in caplog.records if one.message == "site_agent_trouble"]
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


@pytest.mark.row("L-27", "L-28")
def test_a_model_that_an_operator_loads_was_used_just_now_and_is_started_at_the_next_look():
    now = [1_800_000_000.0]
    board = SiteBoard("hub", clock=lambda: now[0])
    kept = kept_catalog(RelaySite.enrolled(), idle_timeout_s=600)
    idle = Override(model=MODEL, cluster="local", unloaded=True, unloaded_at=now[0] - 60)

    def orders(said: Override) -> list[Submit]:
        board.take_catalog(
            Catalog(kept.clusters.values(), kept.models.values(), overrides=[said], version=2)
        )
        wishes = board.wishes("local")
        assert wishes.demand is not None
        view = View(
            now=now[0],
            fence=1,
            desired=wishes.desired,
            policy=Policy(),
            demand=wishes.demand.models,
        )
        return [one for one in decide(view).actions if isinstance(one, Submit)]

    assert orders(idle) == []
    woken = idle.told(Wish.LOAD, now=now[0])
    assert (woken.unloaded, woken.loaded_at) == (False, now[0])
    (submit,) = orders(woken)
    assert (submit.key.model, submit.key.framework) == (MODEL, FRAMEWORK)
    # It counts as a use like any other: nobody came, and the model's idle time is over.
    now[0] += 599
    assert len(orders(woken)) == 1
    now[0] += 1
    assert orders(woken) == []


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
