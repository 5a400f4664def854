"""The agent looks more often while an engine loads for which a batch waits, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.batch_keeper.expecting import expects
from compute_functions.batch_keeper.turns import DESKS, decide
from compute_functions.contract.instances import InstanceState
from compute_functions.drivers.driver import JobState
from compute_functions.reconciler.member import Member, Registered
from tests.support.simulated_batches import KEY, OTHER, SimulatedBatch, SimulatedBatches

LOADS = Member(
    instance="one",
    model=KEY.model,
    framework=KEY.framework,
    state=JobState.RUNNING,
    fence=1,
    submitted_at=1.0,
    registered=Registered(state=InstanceState.STARTING),
)


@pytest.fixture
def site() -> SimulatedBatches:
    made = SimulatedBatches()
    made.add(SimulatedBatch(batch="b", owner="ann", lines=10))
    return made


def expected(site: SimulatedBatches, *members: Member) -> bool:
    scene = site.scene()
    return expects(scene, decide(scene), members)


def test_an_engine_that_loads_for_a_batch_that_waits(site: SimulatedBatches) -> None:
    assert expected(site, LOADS)


@pytest.mark.parametrize(
    "member",
    [
        replace(LOADS, model=OTHER.model, framework=OTHER.framework),
        replace(LOADS, registered=None),
        replace(LOADS, registered=Registered(state=InstanceState.READY)),
        replace(LOADS, registered=Registered(state=InstanceState.FAILED)),
    ],
)
def test_no_engine_of_its_model_loads(site: SimulatedBatches, member: Member) -> None:
    assert not expected(site, member)


def test_a_batch_that_runs_elsewhere(site: SimulatedBatches) -> None:
    site.start("two")
    assert not expected(site, LOADS)


def test_a_batch_that_pauses(site: SimulatedBatches) -> None:
    batch = site.batches["b"]
    batch.state = replace(batch.state, not_before=site.now + 5.0)
    assert not expected(site, LOADS)


def test_a_batch_whose_input_is_to_be_looked_through(site: SimulatedBatches) -> None:
    for name in ("b", "c"):
        site.add(SimulatedBatch(batch=name, owner="ann", lines=10, unexamined=True))
    # The one is at the desk, and the other waits for that.
    assert not expected(site, LOADS)


def test_batches_that_ask_the_engine_nothing_more(site: SimulatedBatches) -> None:
    for number in range(DESKS + 1):
        site.add(SimulatedBatch(batch=f"b{number}", owner="ann", lines=10))
    for batch in site.batches.values():
        batch.cancelled = True
    # One more than can have their results written at once.
    assert not expected(site, LOADS)
