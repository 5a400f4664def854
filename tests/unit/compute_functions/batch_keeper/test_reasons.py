"""Batches that wait say for what: for others, or for an instance that could take them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.batch_keeper.scene import Standing
from compute_functions.batch_keeper.turns import decide
from compute_functions.contract import ModelDemand
from tests.support.simulated_batches import KEY, OTHER, SimulatedBatch, SimulatedBatches

BEFORE = "others are before it"
TAKE_NONE = (
    "the instances of its model take no batches: they began before this site did, or cannot write "
    "to its spool; its operators must act"
)
NOT_READY = "no instance of its model is ready"


@pytest.fixture
def site() -> SimulatedBatches:
    made = SimulatedBatches()
    made.add(SimulatedBatch(batch="b", owner="ann", lines=10))
    return made


def reason(site: SimulatedBatches) -> str:
    state = decide(site.scene()).states["b"]
    assert state.instance is None
    return state.reason


def test_nothing_is_ready(site: SimulatedBatches) -> None:
    site.start("other", key=OTHER)
    assert reason(site) == NOT_READY


def test_another_batch_has_the_place(site: SimulatedBatches) -> None:
    site.start("one")
    site.tick()
    site.add(SimulatedBatch(batch="c", owner="ann", lines=10))
    state = decide(site.scene()).states["c"]
    assert (state.instance, state.reason) == (None, BEFORE)


def test_an_instance_that_was_just_silent_may_take_it_yet(site: SimulatedBatches) -> None:
    site.start("one", standing=Standing.HOLDING)
    site.start("old", standing=Standing.WITHOUT)
    assert reason(site) == BEFORE


def test_all_instances_began_before_the_site_took_batches(site: SimulatedBatches) -> None:
    """The model is wanted all the same: one that begins now would take the batch."""
    site.start("old", standing=Standing.WITHOUT)
    site.start("older", standing=Standing.LEAVING)
    assert reason(site) == TAKE_NONE
    wanted = ModelDemand(model=KEY.model, framework=KEY.framework, waiting=1)
    assert decide(site.scene()).demand == (wanted,)


def test_one_that_is_on_its_way_is_waited_for(site: SimulatedBatches) -> None:
    site.start("old", standing=Standing.WITHOUT)
    scene = replace(site.scene(), waits={KEY: "Priority"})
    assert decide(scene).states["b"].reason == "Priority"


def test_an_instance_that_takes_batches_takes_it_beside_one_that_does_not(
    site: SimulatedBatches,
) -> None:
    site.start("old", standing=Standing.WITHOUT)
    site.start("new")
    assert decide(site.scene()).states["b"].instance == "new"
