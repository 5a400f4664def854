"""What the agent writes for batches: epochs above all before, nothing once its lease is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from batch.control import Control
from batch.folder import Folder
from compute_functions.batch_keeper import giving_up
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.desk import Desk
from compute_functions.batch_keeper.turns import Decision
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_spool import control
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.contract.batches import BatchState
from compute_functions.errors import LeaseLost
from compute_functions.site import VARIABLE
from tests.support.batch_orders import BatchSite, batch_site, lines, order

BATCH = "batch_00000001"
ONE = AgentState(fence=0, instance="one")


class Lease:
    """Ours until it is lost."""

    lost = False

    def require(self) -> None:
        if self.lost:
            raise LeaseLost("it was taken over")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    made = batch_site(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    made.taken(order())
    made.upload(lines())
    return made


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def desk(site: BatchSite, lease: Lease) -> Desk:
    return Desk(site.spool, require=lease.require)


def carry_out(desk: Desk, decision: Decision, *, fence: int = 1) -> dict[str, AgentState]:
    views = desk.read(()).views
    return desk.carry_out(
        decision, views, bounds=lambda _: Control(share=0.5), fence=fence, now=9.0
    )


def assign(desk: Desk, state: AgentState = ONE) -> AgentState:
    return carry_out(desk, Decision(states={BATCH: state}, assigned=frozenset({BATCH})))[BATCH]


def test_each_assignment_has_an_epoch_above_all_given_and_all_taken(
    site: BatchSite, desk: Desk
) -> None:
    first = assign(desk)
    assert first == replace(ONE, fence=1, epoch=1) == AgentState.read(site.folder())
    assert site.view().began
    folder = Folder(site.folder().work)
    folder.make()
    # A runner by hand took the next ones.
    assert [folder.epochs.take(), folder.epochs.take()] == [1, 2]
    assert assign(desk, first).epoch == 3
    assert assign(desk, replace(first, epoch=7)).epoch == 8


def test_a_runner_knows_its_bounds_before_it_is_begun(site: BatchSite, desk: Desk) -> None:
    state = assign(desk)
    desk.tell({BATCH: state}, ["one", "two"], fence=4)
    assert Assignments.read(site.spool, "one") == Assignments(fence=4, epochs={BATCH: 1})
    assert Assignments.read(site.spool, "two") == Assignments(fence=4)
    assert b'"share":0.5' in site.folder().control.read_bytes()


def test_a_batch_that_was_cancelled_a_moment_ago_is_not_begun(site: BatchSite, desk: Desk) -> None:
    views = desk.read(()).views
    control.cancel(site.folder(), now=2.0)
    decision = Decision(states={BATCH: ONE}, assigned=frozenset({BATCH}))
    states = desk.carry_out(decision, views, bounds=lambda _: Control(), fence=1, now=9.0)
    assert states[BATCH].instance is None
    assert AgentState.read(site.folder()) is None


def test_nothing_is_written_once_the_lease_is_lost(
    site: BatchSite, desk: Desk, lease: Lease
) -> None:
    lease.lost = True
    with pytest.raises(LeaseLost):
        assign(desk)
    with pytest.raises(LeaseLost):
        desk.tell({BATCH: replace(ONE, epoch=1)}, ["one"], fence=1)
    with pytest.raises(LeaseLost):
        carry_out(desk, Decision(failed={BATCH: "it died"}))
    assert AgentState.read(site.folder()) is None
    assert Assignments.read(site.spool, "one") is None
    assert site.report().state is BatchState.WAITING


def test_what_did_not_change_is_not_written_again(site: BatchSite, desk: Desk) -> None:
    state = assign(desk)
    before = site.folder().state.stat().st_ino
    assert carry_out(desk, Decision(states={BATCH: state}), fence=2)[BATCH] == state
    assert site.folder().state.stat().st_ino == before


def test_a_batch_that_is_given_up_is_failed_and_no_runner_changes_that(
    site: BatchSite, desk: Desk
) -> None:
    assign(desk)
    carry_out(desk, Decision(failed={BATCH: "its runner died 6 times"}))
    told = site.report()
    assert (told.state, told.reason) == (BatchState.FAILED, "its runner died 6 times")
    assert site.folder().highest_epoch() == 1


def test_a_batch_whose_input_never_came_expires(site: BatchSite, desk: Desk) -> None:
    site.taken(order("batch_00000002"))
    views = desk.read(()).views
    late = views[BATCH].order.expires_at + 1
    assert giving_up.expire(views["batch_00000002"], now=late)
    # That one has its input: a runner writes what came of it.
    assert not giving_up.expire(views[BATCH], now=late)
    assert site.report("batch_00000002").state is BatchState.EXPIRED


def test_words_of_instances_that_are_no_more_go_after_a_while(site: BatchSite, desk: Desk) -> None:
    run = Run(batch=BATCH, epoch=1, pid=3, status=-9)
    Working((run,)).write(site.spool, "one")
    Assignments(fence=1).write(site.spool, "one")
    Working().write(site.spool, "two")
    assert desk.read(["one", "none"]).working == {"one": Working((run,))}
    written = Working.file(site.spool, "one").stat().st_mtime
    desk.sweep(["two"], now=written + 500)
    assert Working.read(site.spool, "one") is not None
    desk.sweep(["two"], now=written + 700)
    assert Working.read(site.spool, "one") is None
    assert Assignments.read(site.spool, "one") is None
    assert Working.read(site.spool, "two") == Working()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": [{"batch": 1}]}', '{"runs": 3}'])
def test_a_damaged_word_says_nothing(site: BatchSite, text: str) -> None:
    file = Working.file(site.spool, "one")
    file.write_text(text)
    assert Working.read(site.spool, "one") in {None, Working()}
    Assignments.file(site.spool, "one").write_text(text)
    assert Assignments.read(site.spool, "one") is None
