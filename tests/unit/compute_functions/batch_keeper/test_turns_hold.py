"""Whatever happens at a site, turns never do certain things, and every batch ends."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute_functions.batch_keeper import ends
from compute_functions.batch_keeper.scene import Scene, Standing
from compute_functions.batch_keeper.turns import DESKS, EXAMINATIONS, Decision
from compute_functions.batch_spool.agent_state import DESK
from tests.support.simulated_batches import KEY, OTHER, SimulatedBatch, SimulatedBatches

MOST_BATCHES = 12

batches = st.builds(
    lambda owner, lines, weight, key, large: SimulatedBatch(
        batch="", owner=owner, lines=lines, weight=weight, key=key, unexamined=large
    ),
    owner=st.sampled_from(["ann", "bob", "cat"]),
    lines=st.integers(1, 400),
    weight=st.sampled_from([0.5, 1.0, 4.0]),
    key=st.sampled_from([KEY, OTHER]),
    large=st.booleans(),
)
events = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("start", "kill", "drain", "hold", "mend"),
                *("die", "leave", "disk", "taken", "cancel", "die-at-desk"),
            ]
        ),
        st.integers(0, 10),
        st.integers(1, 30),
    ),
    max_size=25,
)
STATUSES = {"die": -9, "leave": 4, "disk": 6, "taken": 5}


def happen(site: SimulatedBatches, event: str, which: int) -> None:
    names = sorted(name for name in site.instances if name != DESK)
    name = names[which % len(names)] if names else ""
    if event == "start" and len(names) < 5:
        site.start(f"new-{len(names)}-{site.now:.0f}", key=KEY if which % 2 else OTHER)
    elif event == "cancel":
        site.batches[f"b{which % len(site.batches)}"].cancelled = True
    elif event == "die-at-desk":
        site.crash(DESK, -9)
    elif name:
        happen_to(site, event, name)


def happen_to(site: SimulatedBatches, event: str, name: str) -> None:
    instance = site.instances[name]
    if event == "kill":
        site.kill(name)
    elif event == "drain":
        site.drain(name)
    elif event == "hold" and instance.standing is Standing.READY:
        instance.standing = Standing.HOLDING
    elif event == "mend" and instance.standing is Standing.HOLDING:
        instance.standing = Standing.READY
    elif event in STATUSES:
        site.crash(name, STATUSES[event])


def check(scene: Scene, decision: Decision) -> None:
    before = {claim.batch: claim for claim in scene.claims}
    given_to: dict[str, set[str]] = {}
    for batch, state in decision.states.items():
        if state.instance is not None:
            given_to.setdefault(state.instance, set()).add(batch)
    for name in {decision.states[batch].instance for batch in decision.assigned}:
        host = scene.hosts[name or ""]
        at_work = {batch for batch, run in host.runs.items() if run.status is None}
        assert host.standing is Standing.READY
        taken = given_to[name or ""] | at_work
        if name == DESK:
            check_desk(scene, decision, taken)
        else:
            assert len(taken) <= scene.turns
    for batch in decision.assigned:
        claim, state = before[batch], decision.states[batch]
        host = scene.hosts[state.instance or ""]
        assert host.key == (claim.key if claim.wants_engine and not state.given_up else None)
        waited = scene.now - claim.state.since >= ends.LONGEST_END_PAUSE_S
        assert claim.state.not_before <= scene.now or (claim.ends and waited)
        check_alone(scene, decision, batch)
    check_quantum(scene, decision)
    check_demand(scene, decision)


def check_desk(scene: Scene, decision: Decision, taken: set[str]) -> None:
    """One input is looked through at a time, and holds up nobody whose results are written.

    None of these hangs. One that is cancelled has its runner still: of these there are few, too.
    """
    examined = {
        claim.batch
        for claim in scene.claims
        if claim.batch in taken and not claim.ends and not decision.states[claim.batch].given_up
    }
    if examined & decision.assigned:
        assert len(examined) <= EXAMINATIONS
    if taken & decision.assigned:
        assert len(taken - examined) <= DESKS


def check_demand(scene: Scene, decision: Decision) -> None:
    """Models are wanted for those that could ask them something now, or soon if they are there."""
    hosts = scene.hosts.values()
    there = {one.key for one in hosts if one.standing in {Standing.READY, Standing.HOLDING}}
    wanting = {
        claim.batch
        for claim in scene.claims
        if (state := decision.states.get(claim.batch)) is not None
        and not claim.ends
        and not state.given_up
        and (state.instance is not None or state.not_before <= scene.now)
        and (
            (claim.wants_engine and state.instance != DESK)
            or (state.instance is not None and claim.key in there)
        )
    }
    assert sum(one.waiting + one.running for one in decision.demand) == len(wanting)


def check_alone(scene: Scene, decision: Decision, batch: str) -> None:
    """Nobody else works on what is assigned, unless it had its time to leave."""
    since = {claim.batch: claim.state.since for claim in scene.claims}[batch]
    for host in scene.hosts.values():
        run = host.runs.get(batch)
        if run is None or run.status is not None:
            continue
        waited = scene.now - since > ends.LEAVES_S
        assert waited or host.leaving_s > ends.LEAVES_S


def check_quantum(scene: Scene, decision: Decision) -> None:
    """Nobody is stopped before a whole turn, nor for somebody who had as much."""
    for claim in scene.claims:
        state = decision.states.get(claim.batch)
        host = scene.hosts.get(claim.state.instance or "")
        if state is None or host is None or state.instance is not None:
            continue
        run = host.runs.get(claim.batch)
        goes_on = run is not None and run.epoch == claim.state.epoch and run.status is None
        if goes_on and host.standing is not Standing.LEAVING:
            assert scene.now - claim.state.since >= scene.quantum_s
            waiting = (one for one in scene.claims if one.key == claim.key)
            own = scene.shares.of(claim.share_of)
            assert any(scene.shares.of(one.share_of) < own for one in waiting)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    wanted=st.lists(batches, min_size=1, max_size=MOST_BATCHES),
    happening=events,
    turns=st.integers(1, 3),
    quantum_s=st.sampled_from([5.0, 60.0]),
)
def test_every_batch_ends_and_nobody_else_works_on_it(
    wanted: list[SimulatedBatch],
    happening: list[tuple[str, int, int]],
    turns: int,
    quantum_s: float,
) -> None:
    site = SimulatedBatches(turns=turns, quantum_s=quantum_s)
    for number, batch in enumerate(wanted):
        batch.batch = f"b{number}"
        site.add(batch)
    site.start("first")
    for event, which, seconds in happening:
        for scene, decision in site.run(seconds):
            check(scene, decision)
        happen(site, event, which)
    site.start("last", rate=50.0)
    site.start("last-other", key=OTHER, rate=50.0)
    for scene, decision in site.run(3 * ends.LONGEST_PAUSE_S):
        check(scene, decision)
        if all(batch.ended for batch in site.batches.values()):
            break
    # Six runners killed one after the other, before any line, may have failed one; nothing else.
    assert all(batch.ended for batch in site.batches.values())
    for batch in site.batches.values():
        assert batch.ended == "completed" or "died" in batch.ended


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=2, max_size=4),
    instances=st.integers(1, 3),
    quantum_s=st.sampled_from([10.0, 30.0]),
)
def test_who_always_waits_gets_a_share_by_weight(
    weights: list[float], instances: int, quantum_s: float
) -> None:
    """No owner is ahead of another by more than what all instances do in two turns."""
    site = SimulatedBatches(quantum_s=quantum_s)
    for number in range(instances):
        site.start(f"i{number}")
    for owner, weight in enumerate(weights):
        for number in range(instances):
            batch = f"o{owner}-{number}"
            site.add(SimulatedBatch(batch=batch, owner=str(owner), lines=10**6, weight=weight))
    for _ in site.run(40 * quantum_s):
        pass
    used = [site.used.get(str(owner), 0.0) / weight for owner, weight in enumerate(weights)]
    turn = 10.0 * (quantum_s + 10.0) * instances
    assert max(used) - min(used) <= 2 * turn / min(weights)


@given(turns=st.integers(1, 3), count=st.integers(1, 8))
def test_no_place_is_left_free_while_somebody_waits(turns: int, count: int) -> None:
    site = SimulatedBatches(turns=turns)
    site.start("one")
    site.start("two")
    for number in range(count):
        site.add(SimulatedBatch(batch=f"b{number}", owner="ann", lines=10))
    _, decision = site.tick()
    assert len(decision.assigned) == min(count, 2 * turns)


def test_a_batch_whose_runners_die_again_and_again_keeps_what_it_has() -> None:
    site = SimulatedBatches()
    batch = site.add(SimulatedBatch(batch="b", owner="ann", lines=100, done=40.0))
    batch.state = replace(batch.state, recorded=40)
    site.start("one", rate=0.0)
    for scene, decision in site.run(1.5 * ends.CRASHES_FOR_S):
        check(scene, decision)
        assert not decision.failed
        # What ails a whole cluster for some minutes costs no batch.
        assert not batch.state.given_up or site.now - 1_000.0 >= ends.CRASHES_FOR_S
        site.crash("one", -9)
    assert batch.state.instance == DESK
    assert "10 times in a row" in batch.state.given_up
    assert batch.ended == "completed"


def test_who_cancels_a_batch_that_pauses_for_long_does_not_wait_for_that() -> None:
    site = SimulatedBatches()
    batch = site.add(SimulatedBatch(batch="b", owner="ann", lines=100))
    site.start("one")
    batch.state = replace(batch.state, since=site.now, not_before=site.now + 600.0)
    for _ in site.run(2 * ends.LONGEST_END_PAUSE_S):
        assert batch.state.instance is None
    # Who cancels a moment after it was set back waits for a moment.
    batch.state = replace(batch.state, since=site.now, not_before=site.now + 600.0)
    batch.cancelled = True
    for _ in site.run(ends.LONGEST_END_PAUSE_S - 1.0):
        assert batch.state.instance is None
    for _ in site.run(10.0):
        pass
    assert (batch.ended, batch.state.instance) == ("completed", DESK)
