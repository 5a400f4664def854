"""The agent's look at all batches: what changed is seen, and nothing else is read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from batch import whole_file
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.fate import begin
from compute_functions.batch_spool.look import UNSURE_S, SpoolLook
from compute_functions.contract.batches import BatchVerb
from tests.support.batch_orders import BatchSite, cancel_at, lines, order

BATCH = "batch_00000001"


@dataclass(slots=True)
class HandClock:
    """A clock that stands until it is set."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def look(site: BatchSite, clock: HandClock) -> SpoolLook:
    return SpoolLook(site.spool, clock=clock)


def test_a_site_without_batches_has_none(look: SpoolLook) -> None:
    assert look.read() == {}


def test_each_step_of_a_batch_is_seen(site: BatchSite, look: SpoolLook, clock: HandClock) -> None:
    site.taken(order())
    folder = site.folder()
    assert not look.read()[BATCH].has_input

    site.upload(lines())
    assert look.read()[BATCH].wants_runner
    clock.now += 2 * UNSURE_S
    look.read()
    AgentState(fence=1, epoch=1, instance="tiny-1").write(folder)
    assert begin(folder, now=1.0)
    seen = look.read()[BATCH]
    assert seen.began
    assert seen.state == AgentState(fence=1, epoch=1, instance="tiny-1")

    clock.now += 2 * UNSURE_S
    look.read()
    whole_file.replace(folder.progress, whole_file.packed({"completed": 1}))
    progress = look.read()[BATCH].progress
    assert progress is not None
    assert progress.completed == 1
    cancel_at(folder)
    assert look.read()[BATCH].cancelled
    site.finish()
    assert look.read()[BATCH].over
    site.ask(BatchVerb.FORGET, BATCH)
    assert look.read() == {}


def test_what_did_not_change_is_not_read_again(
    site: BatchSite, look: SpoolLook, clock: HandClock
) -> None:
    site.taken(order())
    first = look.read()[BATCH]
    assert look.read()[BATCH] is not first

    clock.now += 2 * UNSURE_S
    kept = look.read()[BATCH]
    assert look.read()[BATCH] is kept


def test_a_batch_that_an_instance_works_on_is_always_read(
    site: BatchSite, look: SpoolLook, clock: HandClock
) -> None:
    """NFS may show the folder's old time for half a minute."""
    site.taken(order())
    site.upload(lines())
    assert begin(site.folder(), now=1.0)
    AgentState(fence=1, epoch=1, instance="tiny-1").write(site.folder())
    look.read()
    clock.now += 2 * UNSURE_S

    assert look.read()[BATCH] is not look.read()[BATCH]


def test_a_damaged_batch_is_passed_over_and_told_once(
    site: BatchSite, look: SpoolLook, caplog: pytest.LogCaptureFixture
) -> None:
    site.taken(order())
    site.taken(order("batch_00000002"))
    site.folder().order.write_text("{")

    for _ in range(3):
        assert list(look.read()) == ["batch_00000002"]
    (record,) = caplog.records
    assert "batch_passed_over" in record.message


def test_a_state_of_a_later_version_is_understood(site: BatchSite) -> None:
    site.taken(order())
    whole_file.replace(site.folder().state, b'{"fence": 3, "epoch": 2, "colour": "red"}')
    assert site.view().state == AgentState(fence=3, epoch=2)


def test_the_highest_epoch_is_that_of_the_runners(site: BatchSite) -> None:
    site.taken(order())
    folder = site.folder()
    assert folder.highest_epoch() == 0
    (folder.work / "epochs").mkdir()
    for name in ("1", "12", "3", ".draft"):
        (folder.work / "epochs" / name).touch()
    assert folder.highest_epoch() == 12
