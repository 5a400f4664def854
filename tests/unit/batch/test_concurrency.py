"""How many requests are under way, against engines whose throughput is known."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path

import pytest

from batch.asking import Bounds
from batch.concurrency import LONG, MOST, SHORT, START, Concurrency, Queue
from batch.folder import Folder
from batch.job import Job
from batch.pending import Changes
from batch.runner import HELD_LOOK_S
from batch.transports.transport import EngineLoad


class SimulatedEngine:
    """Works on at most `slots` requests at a time; each takes `takes_s(those being worked on)`."""

    def __init__(self, concurrency: Concurrency, *, slots: int, tells: bool) -> None:
        self.concurrency = concurrency
        self.now = 0.0
        self.answers = 0
        self.waiting = 0
        self._slots = slots
        self._tells = tells
        self._ends: list[float] = []
        self._looked_at = 0.0

    def run(self, until_s: float, takes_s: Callable[[int], float]) -> None:
        while self.now < until_s:
            while self.concurrency.under_way < self.concurrency.limit:
                self.concurrency.began(self.now)
                self.waiting += 1
            while self.waiting and len(self._ends) < self._slots:
                self.waiting -= 1
                # Arrivals and answers of an engine are never all in step.
                spread = 1 + 0.1 * (self.answers % 7) / 7
                heapq.heappush(self._ends, self.now + takes_s(len(self._ends) + 1) * spread)
            self.now = heapq.heappop(self._ends)
            self.answers += 1
            self.concurrency.answered(self.now, 1.0)
            if self._tells and self.now - self._looked_at >= 1:
                self._looked_at = self.now
                load = EngineLoad(running=len(self._ends), waiting=self.waiting)
                self.concurrency.told(load, self.now)

    @property
    def under_way(self) -> int:
        return len(self._ends) + self.waiting


def constant(_: int) -> float:
    return 1.0


def test_a_run_begins_with_a_sensible_number():
    assert Concurrency().limit == START


@pytest.mark.parametrize("tells", [True, False])
def test_an_engine_that_takes_all_gets_the_most(tells: bool):
    engine = SimulatedEngine(Concurrency(), slots=10_000, tells=tells)
    engine.run(60, constant)
    assert engine.concurrency.limit == MOST


def test_an_engine_that_tells_is_filled_and_not_swamped():
    engine = SimulatedEngine(Concurrency(), slots=128, tells=True)
    engine.run(60, constant)
    assert 128 <= engine.concurrency.limit <= 128 * 1.3
    before = engine.answers
    engine.run(120, constant)
    # All places are taken all the time: an answer of each takes 1.04 s on average.
    assert engine.answers - before >= 0.98 * 60 * 128 / 1.043


def test_an_engine_that_does_not_tell_is_measured():
    engine = SimulatedEngine(Concurrency(), slots=100, tells=False)
    engine.run(400, constant)
    assert 100 <= engine.concurrency.limit <= 300
    before = engine.answers
    engine.run(460, constant)
    assert engine.answers - before >= 0.95 * 60 * 100 / 1.043


def test_an_engine_that_gets_slower_with_each_request_is_not_given_more_and_more():
    # From 48 on its throughput stays the same, however many it has.
    engine = SimulatedEngine(Concurrency(), slots=10_000, tells=False)
    engine.run(600, lambda running: max(1.0, running / 48))
    assert engine.concurrency.limit <= 160


def test_a_busy_engine_halves_the_limit_once_for_all_that_were_under_way():
    concurrency = Concurrency(start=64)
    for _ in range(64):
        concurrency.began(0.0)
    for _ in range(20):
        concurrency.failed()
        concurrency.cut(began=0.0, now=1.0)
    assert 20 <= concurrency.limit <= 32
    concurrency.began(2.0)
    concurrency.cut(began=2.0, now=3.0)
    assert concurrency.limit <= 23


def test_the_limit_grows_again_after_a_cut():
    engine = SimulatedEngine(Concurrency(start=64, most=64), slots=10_000, tells=False)
    engine.run(3, constant)
    engine.concurrency.cut(began=engine.now, now=engine.now)
    cut = engine.concurrency.limit
    engine.run(60, constant)
    assert cut < 40
    assert engine.concurrency.limit > cut


def test_the_limit_is_never_nothing():
    concurrency = Concurrency(start=1)
    for second in range(10):
        concurrency.began(float(second))
        concurrency.failed()
        concurrency.cut(began=float(second), now=second + 0.5)
    assert concurrency.limit == 1


def test_a_fixed_number_is_kept():
    engine = SimulatedEngine(Concurrency(start=7, most=7), slots=100, tells=True)
    engine.run(30, constant)
    assert engine.concurrency.limit == 7


def test_a_share_counts_while_others_need_the_engine():
    engine = SimulatedEngine(Concurrency(), slots=128, tells=True)
    engine.run(60, constant)
    concurrency = engine.concurrency
    alone = concurrency.bound(Bounds(share=0.5, allowance=0.1))
    shared = concurrency.bound(Bounds(share=0.5, interactive=1))
    assert alone == concurrency.limit
    assert alone * 0.3 <= shared <= alone * 0.55
    assert concurrency.bound(Bounds(share=0.0, interactive=9)) == 1
    assert concurrency.bound(Bounds(share=1.0, interactive=9, most=5)) == 5


def test_a_share_of_one_does_not_keep_the_limit_from_growing():
    concurrency = Concurrency()
    assert concurrency.bound(Bounds(interactive=1)) == concurrency.limit


def test_of_the_share_only_what_callers_leave_over():
    concurrency = Concurrency(start=32)
    assert concurrency.bound(Bounds(share=0.5, interactive=1, allowance=0.5)) == 8
    # Less than one line at a time.
    assert concurrency.bound(Bounds(share=0.5, interactive=1, allowance=0.01)) == 0.16
    assert concurrency.bound(Bounds(share=0.001, interactive=1, allowance=0.5)) == 0.5
    assert concurrency.bound(Bounds(share=0.5, interactive=1, allowance=0.0)) == 0


def test_an_engine_that_has_not_heard_of_all_that_was_sent_is_given_a_moment():
    found = Concurrency()
    for _ in range(START):
        found.began(0.0)
    found.told(EngineLoad(running=START, waiting=0), 0.1)
    assert (found.limit, found.rises) == (2 * START, True)
    for _ in range(START):
        found.began(0.1)
    # It tells of what it had before: looked at again so soon, it would be flooded.
    found.told(EngineLoad(running=START, waiting=0), 0.3)
    assert found.limit == 2 * START
    found.told(EngineLoad(running=2 * START, waiting=0), 0.5)
    assert found.limit == 4 * START
    for _ in range(2 * START):
        found.began(0.5)
    # One that is so fast that nothing is ever seen in it has heard of it by then.
    found.told(EngineLoad(running=1, waiting=0), 1.4)
    assert found.limit == 4 * START
    found.told(EngineLoad(running=1, waiting=0), 1.6)
    assert found.limit == 8 * START


def test_an_engine_that_is_seldom_asked_is_not_measured_meanwhile():
    """As by a runner that callers hold back: what it answers then tells nothing of its limit."""
    found = Concurrency()
    for _ in range(START):
        found.began(0.0)
    found.told(EngineLoad(running=START, waiting=0), 0.1)
    assert found.limit == 2 * START
    for _ in range(START):
        found.began(0.2)
    for number in range(8 * START):
        found.answered(HELD_LOOK_S + 0.01 * number, 1.0)
        found.began(HELD_LOOK_S + 0.01 * number)
    assert found.limit == 2 * START


def test_whoever_was_swamped_once_does_not_rise_any_more():
    found = Concurrency()
    for number in range(START):
        found.began(0.1 * number)
    for now in (4.0, 5.0):
        found.told(EngineLoad(running=4, waiting=28), now)
    assert not found.rises
    # A share is of what it works on.
    assert found.bound(Bounds(share=0.5, interactive=1)) == 2
    assert not Concurrency(start=MOST).rises


class EngineInStep:
    """Answers of one length end together; what follows them is `transit_s` on its way there."""

    def __init__(self, concurrency: Concurrency, *, slots: int, transit_s: float) -> None:
        self.concurrency = concurrency
        self.now = 0.0
        self.answers = 0
        self._slots = slots
        self._transit_s = transit_s
        self._arrivals: list[float] = []
        self._ends: list[float] = []
        self._look_at = 0.0

    def run(self, until_s: float) -> None:
        while self.now < until_s:
            self._fill()
            self.now = min(self._next(), self._look_at)
            while self._ends and self._ends[0] <= self.now:
                heapq.heappop(self._ends)
                self.answers += 1
                self.concurrency.answered(self.now, 1.0)
            self._take()
            if self.now >= self._look_at:
                self._look_at = self.now + 0.73
                load = EngineLoad(running=len(self._ends), waiting=self._waiting)
                self.concurrency.told(load, self.now)

    @property
    def _waiting(self) -> int:
        return sum(1 for arrival in self._arrivals if arrival <= self.now)

    def _fill(self) -> None:
        while self.concurrency.under_way < self.concurrency.limit:
            self.concurrency.began(self.now)
            self._arrivals.append(self.now + self._transit_s)

    def _take(self) -> None:
        while len(self._ends) < self._slots and self._waiting:
            self._arrivals.pop(0)
            heapq.heappush(self._ends, self.now + 1.0)

    def _next(self) -> float:
        ahead = [at for at in self._arrivals if at > self.now]
        return min([*ahead, *self._ends[:1]], default=self._look_at)


def in_step(queue: Queue) -> float:
    """Return which part of an engine's places was taken."""
    engine = EngineInStep(Concurrency(queue=queue), slots=64, transit_s=0.8)
    engine.run(20)
    before = engine.answers
    engine.run(80)
    return (engine.answers - before) / (60 * 64)


def test_an_engine_whose_answers_end_together_has_what_takes_their_places():
    assert in_step(LONG) >= 0.98
    # Whoever is to be short of others' way leaves places empty.
    assert in_step(SHORT) < 0.95


def test_a_long_queue_has_an_end():
    engine = SimulatedEngine(Concurrency(queue=LONG), slots=128, tells=True)
    engine.run(60, constant)
    assert 128 * 1.9 <= engine.concurrency.limit <= 128 * 2.6


def test_what_waits_is_no_part_of_what_a_share_is_of():
    engine = SimulatedEngine(Concurrency(queue=LONG), slots=64, tells=True)
    engine.run(60, constant)
    found = engine.concurrency
    assert found.limit > 64 * 1.2
    assert 30 <= found.bound(Bounds(share=0.5, interactive=1)) <= 32


def test_an_engine_that_is_full_is_not_looked_at_so_often():
    found = Concurrency(queue=LONG)
    for _ in range(START):
        found.began(0.0)
    full = EngineLoad(running=START // 2, waiting=START // 2)
    found.told(full, 0.1)
    # It may have been a rush.
    assert found.rises
    found.told(full, 0.3)
    assert (found.rises, found.limit) == (False, START)


@pytest.mark.parametrize(
    ("load", "priority", "limit"),
    # One fifth waits: above what is few in front of callers, below what is few otherwise.
    [
        # 54 are worked on, and as many may wait.
        (None, None, 2 * 54),
        (Path("load"), 100, 2 * 54),
        (Path("load"), None, START),
    ],
)
def test_the_queue_is_short_only_where_callers_would_stand_behind_it(
    tmp_path: Path, load: Path | None, priority: int | None, limit: int
):
    job = Job(
        folder=Folder(tmp_path),
        input=tmp_path / "in.jsonl",
        load=load,
        changes=Changes(priority=priority),
    )
    found = job.new_concurrency()
    for _ in range(found.limit):
        found.began(0.0)
    waiting = found.limit // 6
    found.told(EngineLoad(running=found.limit - waiting, waiting=waiting), 0.1)
    assert found.limit == limit


@pytest.mark.parametrize("slots", [16, 32])
def test_a_share_is_of_what_an_engine_takes_also_where_the_first_lines_were_more(slots: int):
    found = Concurrency(start=64, queue=LONG)
    for _ in range(64):
        found.began(0.0)
    for now in (0.5, 1.0):
        found.told(EngineLoad(running=slots, waiting=64 - slots), now)
    assert found.bound(Bounds(share=0.5, interactive=1)) == slots // 2


def test_who_shares_an_engine_with_others_of_its_kind_gives_up_its_part_of_the_queue():
    found = Concurrency(start=64, queue=LONG)
    for _ in range(64):
        found.began(0.0)
    # Eight runners; it works on 64, and 64 may wait.
    for now in (0.5, 1.0):
        found.told(EngineLoad(running=64, waiting=448), now)
    assert found.limit == 16


def test_where_each_line_takes_long_few_wait():
    found = Concurrency(start=128, queue=LONG)
    for _ in range(128):
        found.began(0.0)
    for now in (1.0, 2.0):
        found.told(EngineLoad(running=64, waiting=64), now)
    assert found.limit == 128
    # A minute each, of which half in the queue.
    for number in range(64):
        found.answered(60.0 + number / 64, 1.0, took_s=60.0)
        found.began(60.0 + number / 64)
    for now in (62.0, 63.0):
        found.told(EngineLoad(running=64, waiting=64), now)
    assert 64 <= found.limit <= 76
