"""Large inputs are looked through beside the agent, before an engine is wanted for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.batch_keeper.scene import DESK
from compute_functions.batch_keeper.shares import Shares
from compute_functions.batch_keeper.turns import DESKS, Decision, decide
from compute_functions.contract import ModelDemand
from tests.support.simulated_batches import (
    BEGINS_S,
    EXAMINES_S,
    KEY,
    SimulatedBatch,
    SimulatedBatches,
)

WAITS = "its input is to be checked, after those of others"
AT_IT = "its input is being checked"


@pytest.fixture
def site() -> SimulatedBatches:
    return SimulatedBatches()


def add(
    site: SimulatedBatches, name: str, *, owner: str = "ann", large: bool = True
) -> SimulatedBatch:
    return site.add(SimulatedBatch(batch=name, owner=owner, lines=1_000, unexamined=large))


def places(decision: Decision) -> dict[str, str | None]:
    return {batch: state.instance for batch, state in decision.states.items()}


def test_a_large_input_is_looked_through_although_an_instance_is_free(
    site: SimulatedBatches,
) -> None:
    site.start("one")
    batch = add(site, "b")
    _, decision = site.tick()
    assert (places(decision), batch.state.reason) == ({"b": DESK}, AT_IT)
    for _ in site.run(BEGINS_S + EXAMINES_S + 2.0):
        pass
    assert (batch.state.instance, batch.state.reason) == ("one", "")
    assert (batch.state.setbacks, batch.ended) == (0, "")


def test_no_model_is_wanted_for_it_before_that(site: SimulatedBatches) -> None:
    batch, other = add(site, "b"), add(site, "c")
    demands = [decision.demand for _, decision in site.run(30.0)]
    assert demands[0] == ()
    wanted = ModelDemand(model=KEY.model, framework=KEY.framework, waiting=1)
    # First for the one, then for both.
    assert [one for at, one in enumerate(demands) if one not in demands[:at]] == [
        (),
        (wanted,),
        (replace(wanted, waiting=2),),
    ]
    assert not batch.unexamined
    assert not other.unexamined
    assert batch.state.reason == "no instance of its model is ready"


def test_one_at_a_time_in_the_order_of_turns(site: SimulatedBatches) -> None:
    site.shares = Shares(use={"ann": 500.0}, at=site.now)
    for name, owner in (("a", "ann"), ("b", "bob"), ("c", "bob")):
        add(site, name, owner=owner)
    _, decision = site.tick()
    assert places(decision) == {"a": None, "b": DESK, "c": None}
    assert decision.states["a"].reason == decision.states["c"].reason == WAITS
    order = ["b"]
    for _, decided in site.run(60.0):
        order += [batch for batch in decided.assigned if batch not in order]
    assert order == ["b", "c", "a"]


@pytest.mark.parametrize("looks", [1, 2], ids=["at once", "one after the other"])
@pytest.mark.parametrize("first", ["large", "ends"])
def test_those_that_end_are_not_held_up_by_it_nor_it_by_them(
    site: SimulatedBatches, first: str, looks: int
) -> None:
    for kind in sorted(["large", "ends"], reverse=first == "large"):
        if kind == "large":
            add(site, "large")
        for number in range(DESKS + 1) if kind == "ends" else ():
            add(site, f"b{number}", large=False).cancelled = True
        if looks > 1:
            site.tick()
    site.tick()
    found = {name: one.state.instance for name, one in site.batches.items()}
    assert found == {"large": DESK, "b0": DESK, "b1": DESK, "b2": None}
    add(site, "larger")
    assert places(decide(site.scene()))["larger"] is None


def test_one_that_is_cancelled_meanwhile_is_ended_by_the_runner_that_it_has(
    site: SimulatedBatches,
) -> None:
    batch = add(site, "b")
    for _ in site.run(BEGINS_S + 1.0):
        pass
    batch.cancelled = True
    for _ in site.run(2.0):
        pass
    assert (batch.ended, batch.state.epoch) == ("completed", 1)


def test_nobody_gives_way_to_one_whose_input_is_not_known_to_be_good(
    site: SimulatedBatches,
) -> None:
    site.quantum_s = 10.0
    site.start("one")
    add(site, "long", large=False)
    for _ in site.run(30.0):
        pass
    for name in ("a", "b"):
        add(site, name, owner="bob")
    _, decision = site.tick()
    assert places(decision) == {"long": "one", "a": DESK, "b": None}
    site.batches["b"].unexamined = False
    assert places(decide(site.scene()))["long"] is None


def test_one_that_an_instance_had_before_stays_there_and_is_wanted(
    site: SimulatedBatches,
) -> None:
    """As one that began before this agent looked inputs through."""
    site.start("one")
    batch = add(site, "b", large=False)
    site.tick()
    site.step(2.0)
    batch.unexamined = True
    _, decision = site.tick()
    assert places(decision) == {"b": "one"}
    assert decision.demand == (ModelDemand(model=KEY.model, framework=KEY.framework, running=1),)


def test_one_that_pauses_keeps_the_reason_of_that(site: SimulatedBatches) -> None:
    batch = add(site, "b")
    for _ in site.run(BEGINS_S + 1.0):
        pass
    site.crash(DESK, -9)
    site.tick()
    assert (batch.state.instance, batch.state.reason) == (None, "its runner died (status -9)")
    for _ in site.run(30.0):
        pass
    assert (batch.unexamined, batch.state.setbacks, batch.state.crashes) == (False, 0, 0)
