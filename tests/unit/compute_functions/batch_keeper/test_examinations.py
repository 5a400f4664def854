"""Large inputs are looked through beside the agent, before an engine is wanted for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compute_functions.batch_keeper.ends import CRASHES_FOR_S, MOST_DEATHS
from compute_functions.batch_keeper.scene import Standing
from compute_functions.batch_keeper.shares import Shares
from compute_functions.batch_keeper.turns import (
    DESKS,
    HANGS_AFTER_S,
    MOST_HANGING,
    MOST_HANGING_BESIDE_RESULTS,
    Decision,
    decide,
)
from compute_functions.batch_spool.agent_state import DESK
from compute_functions.contract import ModelDemand
from tests.support.simulated_batches import (
    BEGINS_S,
    EXAMINES_S,
    KEY,
    OTHER,
    SimulatedBatch,
    SimulatedBatches,
)

WAITS = "its input is to be checked, after those of others"
AT_IT = "its input is being checked"
GIVES_WAY = "its runner finishes the lines under way, and gives way"


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
    # What engines did for whom does not matter: they are not asked.
    site.shares = Shares(use={"bob": 200_000.0}, at=site.now)
    site.examined = Shares(use={"ann": 500.0}, at=site.now)
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


def demands(decision: Decision) -> list[tuple[int, int]]:
    return [(one.waiting, one.running) for one in decision.demand]


@pytest.mark.parametrize("standing", Standing)
def test_an_instance_that_is_there_is_kept_for_it_meanwhile_and_none_is_started(
    site: SimulatedBatches, standing: Standing
) -> None:
    site.start("other", key=OTHER)
    for name in ("b", "c"):
        add(site, name)
    _, decision = site.tick()
    assert places(decision) == {"b": DESK, "c": None}
    assert demands(decision) == []
    site.start("one", standing=standing)
    kept = standing in {Standing.READY, Standing.HOLDING}
    # The other one is far from needing it: it may be wrong, or wait behind one that hangs.
    assert demands(decide(site.scene())) == ([(0, 1)] if kept else [])


def test_one_whose_input_was_just_found_good_keeps_its_instance_until_that_is_seen(
    site: SimulatedBatches,
) -> None:
    site.start("one")
    batch = add(site, "b")
    site.tick()
    batch.unexamined = False
    _, decision = site.tick()
    assert (places(decision), demands(decision)) == ({"b": DESK}, [(0, 1)])
    batch.cancelled = True
    assert demands(decide(site.scene())) == []


def test_one_that_pauses_keeps_no_instance(site: SimulatedBatches) -> None:
    site.start("one")
    batch = add(site, "b")
    batch.state = replace(batch.state, not_before=site.now + 5.0)
    assert demands(decide(site.scene())) == []


def hanging(site: SimulatedBatches, *names: str) -> None:
    """Have inputs that are looked through, and hang, one after the other."""
    for name in names:
        add(site, name)
        site.tick()
        site.now += HANGS_AFTER_S


def test_one_that_hangs_holds_up_the_next_for_a_while_only(site: SimulatedBatches) -> None:
    site.start("one")
    add(site, "a")
    add(site, "b")
    site.tick()
    site.now += HANGS_AFTER_S - 1.0
    assert places(decide(site.scene())) == {"a": DESK, "b": None}
    site.now += 1.0
    _, decision = site.tick()
    assert places(decision) == {"a": DESK, "b": DESK}
    # Nor does it keep an instance for all that time.
    assert demands(decision) == [(0, 1)]
    add(site, "c")
    assert places(decide(site.scene()))["c"] is None


def test_a_clock_that_was_set_back_holds_nobody_up(site: SimulatedBatches) -> None:
    add(site, "a")
    site.tick()
    site.instances[DESK].runners["a"].begins_at = 0.0
    site.now -= 500.0
    add(site, "b")
    assert places(decide(site.scene()))["b"] == DESK


def test_so_many_may_hang_and_no_more(site: SimulatedBatches) -> None:
    names = [f"b{number}" for number in range(MOST_HANGING)]
    hanging(site, *names)
    assert {one.state.instance for one in site.batches.values()} == {DESK}
    add(site, "next")
    add(site, "ends", large=False).cancelled = True
    _, decision = site.tick()
    assert (places(decision)["next"], places(decision)["ends"]) == (None, DESK)
    assert len(decision.troubles) == MOST_HANGING
    assert "b0" in decision.troubles[0]
    assert "the cluster's disk may hang" in decision.troubles[0]


def test_those_that_hang_and_are_cancelled_hold_up_none_that_end(site: SimulatedBatches) -> None:
    hanging(site, *(f"b{number}" for number in range(MOST_HANGING)))
    for batch in site.batches.values():
        batch.cancelled = True
    for number in range(MOST_HANGING_BESIDE_RESULTS - MOST_HANGING):
        add(site, f"c{number}", large=False).cancelled = True
    add(site, "large")
    _, decision = site.tick()
    found = places(decision)
    assert (found["c0"], found["c1"], found["large"]) == (DESK, DESK, None)
    # Where all that is begun there hangs, no more of it is begun.
    site.now += HANGS_AFTER_S
    add(site, "next", large=False).cancelled = True
    _, decision = site.tick()
    assert (places(decision)["next"], places(decision)["large"]) == (None, None)


def test_no_more_hang_than_said_however_many_are_there_before(site: SimulatedBatches) -> None:
    for number in range(12):
        add(site, f"b{number:02}", large=False).cancelled = True
    found = []
    for _ in range(4):
        site.tick()
        found.append(sum(one.state.instance == DESK for one in site.batches.values()))
        site.now += HANGS_AFTER_S
    assert found == [DESKS, 2 * DESKS, MOST_HANGING_BESIDE_RESULTS, MOST_HANGING_BESIDE_RESULTS]


@pytest.mark.parametrize("forgotten", [1, MOST_HANGING])
def test_those_that_hang_and_are_forgotten_hold_up_none_that_end(
    site: SimulatedBatches, forgotten: int
) -> None:
    """Their processes are there still: nothing ends one that waits for a disk."""
    names = [f"b{number}" for number in range(MOST_HANGING)]
    hanging(site, *names)
    for name in names[:forgotten]:
        del site.batches[name]
    add(site, "ends", large=False).cancelled = True
    add(site, "large")
    assert places(decide(site.scene()))["ends"] == DESK
    assert places(decide(site.scene()))["large"] is None


def test_one_that_something_is_wrong_with_comes_after_the_others(site: SimulatedBatches) -> None:
    site.examined = Shares(use={"bob": 500.0}, at=site.now)
    bad = add(site, "a")
    bad.state = replace(bad.state, setbacks=1)
    add(site, "b", owner="bob")
    _, decision = site.tick()
    assert places(decision) == {"a": None, "b": DESK}


@pytest.mark.parametrize("ends", [False, True])
def test_elsewhere_setbacks_say_nothing_of_turns(site: SimulatedBatches, ends: bool) -> None:
    site.turns = DESKS
    site.start("one")
    site.shares = Shares(use={"bob": 500.0}, at=site.now)
    for number, owner in enumerate(["bob", "ann", "ann"]):
        batch = add(site, f"b{number}", owner=owner, large=ends)
        batch.cancelled, batch.state = ends, replace(batch.state, setbacks=number)
    _, decision = site.tick()
    place = DESK if ends else "one"
    assert places(decision) == {"b0": None, "b1": place, "b2": place}


def test_those_that_are_cancelled_meanwhile_let_no_others_begin_without_end(
    site: SimulatedBatches,
) -> None:
    """Their runners read their inputs all the same."""
    for number in range(20):
        add(site, f"b{number:02}")
        site.tick()
        site.batches[f"b{number:02}"].cancelled = True
    for _ in range(3):
        site.tick()
        at_desk = [one for one in site.batches.values() if one.state.instance == DESK]
        assert len(at_desk) == DESKS + 1


def test_one_that_is_cancelled_meanwhile_leaves_the_next_its_turn(site: SimulatedBatches) -> None:
    add(site, "a")
    site.tick()
    add(site, "b").cancelled = True
    _, decision = site.tick()
    assert places(decision) == {"a": DESK, "b": DESK}


def test_one_that_is_looked_through_takes_no_place_of_those_that_end(
    site: SimulatedBatches,
) -> None:
    add(site, "a")
    for name in ("b0", "b1"):
        add(site, name, large=False).cancelled = True
    _, decision = site.tick()
    assert places(decision) == {"a": DESK, "b0": DESK, "b1": DESK}


def test_one_whose_runner_at_an_instance_gives_way_says_so(site: SimulatedBatches) -> None:
    site.start("one")
    batch = add(site, "b", large=False)
    site.tick()
    site.step(2.0)
    batch.unexamined = True
    batch.state = replace(batch.state, instance=None, since=site.now)
    _, decision = site.tick()
    assert (places(decision), decision.states["b"].reason) == ({"b": None}, GIVES_WAY)


def test_one_whose_runners_die_beside_the_agent_is_left_to_an_instance(
    site: SimulatedBatches,
) -> None:
    """As where its host lets no process have the memory: the input may be good."""
    batch = add(site, "b")
    at_desk = 0
    for _, decision in site.run(120.0):
        at_desk += places(decision) == {"b": DESK} and "b" in decision.assigned
        site.crash(DESK, -9)
    assert at_desk == MOST_DEATHS
    assert demands(decide(site.scene())) == [(1, 0)]
    site.start("one")
    for _ in site.run(BEGINS_S + 2.0):
        pass
    assert (batch.state.instance, batch.recorded > 0) == ("one", True)


def test_one_that_was_left_to_an_instance_stays_so_however_long_it_waited(
    site: SimulatedBatches,
) -> None:
    batch = add(site, "b")
    for _ in site.run(120.0):
        site.crash(DESK, -9)
    for _ in site.run(CRASHES_FOR_S + 60.0, every=30.0):
        pass
    site.start("one")
    site.tick()
    # Its runner there dies before it has done anything.
    site.now += BEGINS_S
    site.crash("one", -9)
    for _ in site.run(120.0):
        assert batch.state.instance != DESK
    assert batch.recorded
