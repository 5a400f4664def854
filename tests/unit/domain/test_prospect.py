"""How a model stands at a place, as told from what is known and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compute_functions.contract import Instance, InstanceState, ModelOutlook, Stage
from resource_server.domain.catalog import Catalog, Deployment
from resource_server.domain.lifecycle import (
    AITTA_WORDS,
    ALCF_WORDS,
    LEXIS_WORDS,
    LLAMA_CPP_WORDS,
    ModelState,
    Observation,
    Reach,
    Requests,
    SiteView,
    model_state,
)
from resource_server.domain.prospect import SILENT_AFTER_S, Prospect, prospect
from resource_server.domain.upkeep import Override, Upkeep, Wish
from tests.support.catalogs import cluster, model

NOW = 1_800_000_000.0
PLACE = Deployment(cluster="local", framework="vllm", upkeep=Upkeep(gpus=1, walltime_s=3600, max=2))
POST = ("vllm", "a/b")
QUEUED, STARTING, READY = InstanceState.QUEUED, InstanceState.STARTING, InstanceState.READY


def instance(state: InstanceState, **fields: Any) -> Instance:
    made = Instance(
        model="a/b",
        framework="vllm",
        state=state,
        job_id="1",
        host="",
        started_at=NOW,
        submitted_at=NOW,
    )
    return replace(made, **fields)


def look(  # noqa: PLR0913 - what tests set
    *instances: Instance,
    outlook: ModelOutlook | None = None,
    ahead_s: float = 0.0,
    age_s: float = 1.0,
    view: SiteView | None = None,
    maintenance: str = "",
    override: Override | None = None,
    place: Deployment = PLACE,
) -> Prospect:
    observation = Observation(
        observed_at=NOW - age_s,
        instances=instances,
        outlooks=(outlook,) if outlook else (),
        ahead_s=ahead_s,
    )
    view = view or SiteView(cluster="local", reach=Reach.LINKED, observation=observation)
    catalog = Catalog(
        [cluster(maintenance=maintenance)],
        [replace(model("a/b"), deployments=(place,))],
        overrides=(override,) if override else (),
    )
    return prospect(catalog, "a/b", place, view, now=NOW)


def outlook(queue_s: float | None = None, load_s: float | None = None, refused: str = ""):
    return ModelOutlook(
        model="a/b", framework="vllm", queue_s=queue_s, load_s=load_s, refused=refused
    )


class TestState:
    @pytest.mark.row("A-14", "L-13", "C-5", "C-6", "C-7", "C-8")
    @pytest.mark.parametrize(
        ("states", "expected"),
        [
            ((), ModelState.IDLE),
            ((InstanceState.FAILED, InstanceState.STOPPED), ModelState.IDLE),
            ((InstanceState.DRAINING,), ModelState.IDLE),
            ((QUEUED,), ModelState.QUEUED),
            ((QUEUED, STARTING), ModelState.STARTING),
            ((QUEUED, STARTING, READY), ModelState.READY),
        ],
    )
    def test_it_is_the_best_that_any_instance_gives(self, states, expected):
        assert look(*(instance(state) for state in states)).state is expected

    def test_it_is_busy_if_requests_wait_at_every_ready_engine(self):
        busy = instance(READY, waiting=3.0)
        assert model_state([busy, instance(STARTING)]) is ModelState.BUSY
        assert model_state([busy, instance(READY, waiting=0.0)]) is ModelState.READY
        assert model_state([busy, instance(READY)]) is ModelState.READY

    def test_a_relay_that_takes_requests_is_ready_whatever_was_observed(self):
        view = SiteView(cluster="local", reach=Reach.LINKED, ready=frozenset({POST}))
        assert look(view=view).state is ModelState.READY

    def test_of_what_was_never_seen_nothing_is_said(self):
        view = SiteView(cluster="local")
        assert look(view=view).state is None

    def test_maintenance_and_disabled_come_before_what_is_seen(self):
        assert look(instance(READY), maintenance="pipes").state is ModelState.MAINTENANCE
        disabled = Override(model="a/b", cluster="local").told(Wish.DISABLE, now=NOW)
        assert look(instance(READY), override=disabled).state is ModelState.DISABLED

    def test_every_state_has_a_word_in_every_dialect(self):
        for words in (ALCF_WORDS, LLAMA_CPP_WORDS, LEXIS_WORDS, AITTA_WORDS):
            assert words.keys() == set(ModelState)
        assert set(ALCF_WORDS.values()) == {"Live", "Starting", "Queued", "Offline"}
        assert set(LLAMA_CPP_WORDS.values()) == {"loaded", "loading", "unloaded", "sleeping"}
        assert set(LEXIS_WORDS.values()) == {"ready", "busy", "loading", "queued", "not_loaded"}
        assert set(AITTA_WORDS.values()) == {"online", "offline"}


class TestEstimate:
    def test_from_nothing_it_is_queue_and_load(self):
        assert look(outlook=outlook(60.0, 40.0)).ready_in_s == 100.0
        assert look(outlook=outlook(None, 40.0)).ready_in_s == 40.0
        assert look(outlook=outlook(60.0, None)).ready_in_s is None
        assert look().ready_in_s is None

    def test_the_sites_own_time_counts_by_the_gateways_clock(self):
        found = look(instance(STARTING, ready_at=NOW + 130), ahead_s=100.0)
        assert found.ready_in_s == pytest.approx(30.0)

    def test_what_should_be_ready_by_now_takes_no_time_more(self):
        assert look(instance(STARTING, ready_at=NOW - 5)).ready_in_s == 0.0
        assert look(instance(READY)).ready_in_s == 0.0

    def test_without_the_sites_time_what_has_passed_counts(self):
        known = outlook(60.0, 40.0)
        queued = instance(QUEUED, submitted_at=NOW - 30)
        assert look(queued, outlook=known).ready_in_s == pytest.approx(70.0)
        starting = instance(STARTING, started_at=NOW - 30)
        assert look(starting, outlook=known).ready_in_s == pytest.approx(10.0)

    def test_the_instance_that_comes_first_counts(self):
        found = look(
            instance(QUEUED, ready_at=NOW + 5),
            instance(STARTING, ready_at=NOW + 50, stage=Stage.WEIGHTS),
            instance(STARTING, ready_at=NOW + 20, stage=Stage.WARMUP),
        )
        assert (found.stage, found.ready_in_s) == ("warmup", pytest.approx(20.0))

    def test_the_queue_is_counted_from_one(self):
        facts = look(instance(QUEUED, ahead=0, reason="Priority")).facts()
        assert (facts["queue_position"], facts["reason"]) == (1, "Priority")


class TestNever:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"maintenance": "pipes"}, "maintenance: pipes"),
            ({"outlook": outlook(refused="no such engine")}, "no such engine"),
            ({"place": replace(PLACE, upkeep=Upkeep(gpus=1, walltime_s=60, max=0))}, "service"),
        ],
    )
    def test_what_only_an_operator_can_mend_is_final(self, fields, words):
        found = look(**fields)
        assert words in found.never
        assert found.final

    def test_a_site_that_is_away_may_be_back(self):
        found = look(view=SiteView(cluster="local", reach=Reach.AWAY))
        assert "cannot be reached" in found.never
        assert not found.final

    @pytest.mark.parametrize("state", [QUEUED, STARTING, READY])
    def test_what_is_under_way_comes_though_the_site_is_away(self, state):
        observation = Observation(observed_at=NOW, instances=(instance(state),))
        view = SiteView(cluster="local", reach=Reach.AWAY, observation=observation)
        assert look(view=view).never == ""

    def test_else_nothing_is_in_its_way(self):
        assert look().never == ""
        assert look(view=SiteView(cluster="local", reach=Reach.BY_TASK)).never == ""


def test_a_site_that_has_not_spoken_for_long_is_said_to_be_silent():
    assert not look(age_s=SILENT_AFTER_S - 1).silent
    assert look(age_s=SILENT_AFTER_S + 1).silent


def test_who_wants_it_is_known():
    wanted = Requests(framework="vllm", model="a/b", waiting=3, running=1)
    view = SiteView(cluster="local", reach=Reach.LINKED, requests=(wanted,))
    assert look(view=view).requests == wanted


class TestWhatCallersAreTold:
    def test_a_model_that_nobody_keeps_is_not_unavailable_for_want_of_an_agent(self):
        by_hand = Deployment(cluster="local", framework="vllm")
        view = SiteView(cluster="local", reach=Reach.AWAY)
        assert look(view=view, place=by_hand).never == ""
        assert look(view=view).never

    def test_one_whose_relay_takes_requests_is_not_unavailable_either(self):
        view = SiteView(cluster="local", reach=Reach.AWAY, ready=frozenset({POST}))
        assert look(view=view).never == ""

    def test_why_nothing_is_started_is_the_reason(self):
        waits = replace(outlook(load_s=5.0), waits="no GPUs are free")
        facts = look(outlook=waits).facts()
        assert facts["reason"] == "no GPUs are free"
        assert "estimated_wait_s" not in facts, "nobody knows when it is started"
        # The scheduler's own word for the job that is there says more.
        queued = instance(QUEUED, reason="Priority")
        assert look(queued, outlook=waits).reason == "Priority"
