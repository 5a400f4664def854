"""Whose fault a refusal is, over whole batches: simulated, with any lines bad, or the engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import answers, errors
from batch.asking import Sent
from batch.company import COMPANY, MOST_LOSSES, Company, asked_alone
from batch.doubts import FEW, Doubts
from batch.health import Health
from batch.judging import Judging
from batch.pending import Prepared
from batch.retries import MOST_RETRIES, Record, Retry, Trouble
from batch.transports.transport import Reply
from batch.waiting import Waiting

OK, ERROR = Reply(status=200, body=b"{}", request_id="r"), b'{"error": {"message": "out of it"}}'
HTML = Reply(status=200, body=b"<html>", request_id="r")
BROKEN, LATE = errors.BrokenOff("cut"), errors.TimedOut("late")
#: More steps than any of these batches may take.
_MANY = 20_000
CLOSING = {Trouble.LOST, Trouble.MUTE, Trouble.FAULTY, Trouble.DOUBTED}

Event = Reply | errors.CallFailed


def refusing(status: int) -> Event:
    return OK if status == 200 else Reply(status=status, body=ERROR, request_id="r")


@dataclass(slots=True, kw_only=True)
class SimulatedRun:
    """Runs in steps: what is sent in one is answered in it, in the order that `shuffle` gives.

    `says` is what the engine answers to a line, and when (in steps); it dies in a step with a line
    of `killers`, or in those of `deaths`, and is there again in the next one. With `together` its
    runner dies with it, without a word; with `leaves` it says what was lost, and leaves. It ends
    when all lines are settled, or when a probe found nothing for `patience` steps.
    """

    lines: int
    width: int
    says: Callable[[int, int], Event] = lambda *_: OK
    shuffle: Callable[[list[int]], list[int]] = list
    killers: Collection[int] = ()
    deaths: Collection[int] = ()
    together: bool = False
    leaves: bool = False
    completed: int = 0
    patience: int = 100
    failed: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    asked: int = 0
    died: int = 0
    _health: Health = field(init=False)
    _judging: Judging = field(init=False)
    _waiting: Waiting = field(init=False)
    _fresh: list[int] = field(init=False)

    def run(self) -> bool:
        """Return whether the batch came to its end."""
        self._begin()
        for step in range(_MANY):
            if len(self.done) + len(self.failed) == self.lines:
                return True
            if self._health.probing and not self._health.left_s(float(step)):
                return False
            sent, company = self._send(step)
            if (self.deaths and step in self.deaths) or not set(self.killers).isdisjoint(sent):
                self.died += 1
                if self.together:
                    self._succeed(sent)
                    continue
                self._settle(sent, company, step, lambda *_: BROKEN)
                if self.leaves:
                    self._begin()
            else:
                self._settle(sent, company, step, self.says)
            self._health.ready()
        raise AssertionError("it has no end")

    def _begin(self) -> None:
        """Have a runner begin with what is recorded."""
        settled = self.done | self.failed
        pending = [line for line in range(self.lines) if line not in settled]
        losses = {line: self.losses[line] for line in pending if self.losses.get(line)}
        completed = self.completed + len(self.done)
        doubts = Doubts(pending=len(pending), completed=completed, suspects=asked_alone(losses))
        self._health = Health(patience_s=float(self.patience))
        self._judging = Judging(self._health, doubts)
        self._waiting = Waiting(losses)
        self._fresh = [line for line in pending if line not in losses]

    def _succeed(self, sent: dict[int, int]) -> None:
        """Have a runner begin after one that died with its engine. The first one noted nothing."""
        for line in sent if self.died > 1 else ():
            self.losses[line] = self.losses.get(line, 0) + 1
        self._begin()

    def _send(self, step: int) -> tuple[dict[int, int], Company]:
        """Return the lines that are under way together, each with its place in the company."""
        company, sent = Company(), dict[int, int]()
        width = 1 if self._health.probing else self.width
        while len(sent) < width and (line := self._following(company, step)) is not None:
            losses = self.losses.get(line, 0)
            if losses >= MOST_LOSSES:
                self._judging.blamed(line)
                self.failed.add(line)
            else:
                sent[line] = company.join(losses)
        return sent, company

    def _following(self, company: Company, step: int) -> int | None:
        """Choose as the dispatcher does."""
        if not company.admits(0):
            return None
        if self._health.probing and self._fresh:
            return self._fresh.pop(0)
        if (line := self._waiting.due(step)) is not None:
            return line
        if self._fresh:
            return self._fresh.pop(0)
        losses = self._waiting.next_suspect(step)
        if losses is None or not company.admits(losses):
            return None
        return self._waiting.suspect()

    def _settle(
        self,
        sent: dict[int, int],
        company: Company,
        step: int,
        says: Callable[[int, int], Event],
    ) -> None:
        for line in self.shuffle(list(sent)):
            self._end(line, says(line, step), step, single=company.was_alone(sent[line]))

    def _end(self, line: int, event: Event, step: int, *, single: bool) -> None:
        self.asked += 1
        tries, losses = self.tries.get(line, 0), self.losses.get(line, 0)
        prepared = Prepared(number=line, custom_id=str(line), body=b"{}")
        sent = Sent(line=prepared, began=step, tries=tries, losses=losses, single=single)
        body = answers.read(event.body) if isinstance(event, Reply) else answers.NOTHING
        decision, happened = self._judging.ended(sent, event, body, now=step + 0.5)
        assert isinstance(decision, Record | Retry)
        lost = decision.trouble is Trouble.BUSY and not happened.alive
        if decision.trouble in CLOSING or lost:
            self._health.troubled(decision.trouble, now=float(step), pause_s=0.0)
        if isinstance(decision, Record):
            (self.done if decision.problem is None else self.failed).add(line)
            return
        self.tries[line], self.losses[line] = decision.tries, decision.losses
        self._waiting.put(line, due=step, losses=decision.losses)


REFUSALS = st.sampled_from([403, 404, 405, 500, 501, 507])
WIDTHS = st.integers(1, 40)
SHUFFLES = (
    st.integers(0, 1_000)
    .map(random.Random)
    .map(lambda chance: lambda lines: chance.sample(lines, len(lines)))
)
COMMON = {
    "width": WIDTHS,
    "shuffle": SHUFFLES,
    "refusal": REFUSALS.map(refusing) | st.sampled_from([HTML, LATE, BROKEN]),
}


def bad(lines: Collection[int], refusal: Event) -> Callable[[int, int], Event]:
    return lambda line, _: refusal if line in lines else OK


@given(lines=st.integers(FEW + 1, 400), **COMMON)
def test_an_engine_that_refuses_everything_spoils_no_line(lines, width, shuffle, refusal):
    run = SimulatedRun(lines=lines, width=width, shuffle=shuffle, says=lambda *_: refusal)
    assert not run.run()
    assert not run.failed
    assert not any(run.tries.values())
    # Those that were broken off make suspects, who are asked with care; no more than that.
    assert max(run.losses.values()) < MOST_LOSSES
    # After the first window it is asked one line a step.
    assert run.asked <= width + run.patience + 1


@given(lines=st.integers(1, FEW), **COMMON)
def test_a_few_lines_that_are_all_refused_fail_after_all_their_tries(
    lines, width, shuffle, refusal
):
    run = SimulatedRun(lines=lines, width=width, shuffle=shuffle, says=lambda *_: refusal)
    assert run.run()
    assert len(run.failed) == lines
    # Those that came before the others were refused, too, did not count.
    assert run.asked >= lines * (MOST_LOSSES if refusal is BROKEN else MOST_RETRIES + 1)


@given(lines=st.integers(2, 200), data=st.data(), **COMMON)
def test_lines_that_make_the_engine_refuse_them_fail_and_no_other(
    lines, data, width, shuffle, refusal
):
    # Half of the lines at most: more of them may be taken for an engine that is broken.
    chosen = data.draw(st.sets(st.integers(0, lines - 1), max_size=lines // 2))
    run = SimulatedRun(
        lines=lines, width=width, shuffle=shuffle, says=bad(chosen, refusal), patience=1_000
    )
    assert run.run()
    assert run.failed == chosen
    assert len(run.done) == lines - len(chosen)


@given(
    lines=st.integers(1, 300),
    began=st.integers(0, 10),
    lasted=st.integers(1, 60),
    **COMMON,
)
def test_an_engine_that_is_broken_for_a_while_spoils_no_line_if_many_are_left(
    lines, began, lasted, width, shuffle, refusal
):
    left = lines - began * width

    def says(_: int, step: int) -> Event:
        return refusal if began <= step < began + lasted else OK

    run = SimulatedRun(lines=lines, width=width, shuffle=shuffle, says=says)
    assert run.run()
    if isinstance(refusal, Reply) and refusal.status in {404, 405} and began:
        return  # A route that served others is there: that word is believed.
    # With more lines left than are under way at once, one is always left that was not asked yet.
    if left > width + lasted:
        assert not run.failed
    assert len(run.done) + len(run.failed) == lines


@given(last=st.integers(1, 300), completed=st.integers(0, 300), refusal=REFUSALS, width=WIDTHS)
def test_the_last_lines_end_a_batch_only_beside_as_many_good_ones(last, completed, refusal, width):
    refusal = refusing(refusal)
    run = SimulatedRun(
        lines=last,
        completed=completed,
        width=width,
        shuffle=list,
        says=lambda *_: refusal,
        patience=1_000,
    )
    assert run.run() is (last <= max(FEW, completed))
    assert len(run.failed) in {0, last}


@pytest.mark.parametrize("leaves", [False, True])
@given(lines=st.integers(2, 300), data=st.data(), width=WIDTHS, shuffle=SHUFFLES)
def test_lines_that_kill_their_engine_fail_and_no_other(lines, data, width, shuffle, leaves):
    killers = data.draw(st.sets(st.integers(0, lines - 1), max_size=min(lines // 2, 12)))
    run = SimulatedRun(
        lines=lines,
        width=width,
        shuffle=shuffle,
        killers=killers,
        leaves=leaves,
        patience=1_000,
    )
    assert run.run()
    assert run.failed == killers
    assert len(run.done) == lines - len(killers)
    assert run.died <= MOST_LOSSES * len(killers)


@given(lines=st.integers(2, 300), data=st.data(), width=WIDTHS)
def test_lines_that_kill_their_engine_and_their_runner_fail_and_no_other(lines, data, width):
    killers = data.draw(st.sets(st.integers(0, lines - 1), max_size=min(lines, 12)))
    run = SimulatedRun(lines=lines, width=width, killers=killers, together=True)
    assert run.run()
    assert run.failed == killers
    assert len(run.done) == lines - len(killers)
    # Of what the first runner had asked nobody knows.
    assert run.died <= MOST_LOSSES * len(killers) + 1


@pytest.mark.parametrize("together", [False, True])
@given(
    lines=st.integers(1, 300),
    deaths=st.sets(st.integers(0, 40), max_size=3),
    width=WIDTHS,
)
def test_an_engine_that_dies_three_times_by_itself_spoils_no_line(lines, deaths, width, together):
    run = SimulatedRun(lines=lines, width=width, deaths=deaths, together=together)
    assert run.run()
    assert not run.failed
    assert len(run.done) == lines


def test_one_death_has_no_line_asked_alone():
    run = SimulatedRun(lines=600, width=512, deaths={0})
    steps: list[int] = []

    def says(_, step):
        steps.append(step)
        return OK

    run.says = says
    assert run.run()
    # The 88 that were left, one of them to see whether the engine works; and 512 suspects.
    assert max(steps) <= 3 + 512 // COMPANY


def test_a_proxy_whose_engine_is_away_is_no_engine_that_serves():
    """It refuses all with 503 for a moment, and then knows no route: that costs no line."""

    def says(_: int, step: int) -> Event:
        return {3: refusing(503), 4: refusing(404)}.get(step, OK)

    run = SimulatedRun(lines=100, width=4, says=says)
    assert run.run()
    assert not run.failed


def test_lines_that_speak_for_themselves_are_told_of_in_the_engines_own_words():
    judging = Judging(Health(patience_s=1.0), Doubts(pending=2, completed=0))
    bad = Reply(status=404, body=ERROR, request_id="r")
    good = Reply(status=200, body=b"{}", request_id="r")
    for number, event, doubt in (
        (1, bad, ""),
        (2, bad, "refuses every line: status 404, out of it"),
        (2, good, "refuses every line that is left: status 404, out of it"),
        (1, good, ""),
    ):
        sent = Sent(line=Prepared(number=number, custom_id="a", body=b"{}"), began=0.0, tries=0)
        judging.ended(sent, event, answers.read(event.body), now=1.0)
        assert judging.doubt == doubt


def test_a_complaint_names_the_status_and_the_engines_own_words():
    health = Health(patience_s=1.0)
    judging = Judging(health, Doubts(pending=100, completed=0))
    assert judging.complaint == "does not answer"
    sent = Sent(line=Prepared(number=1, custom_id="a", body=b"{}"), began=0.0, tries=0)
    for body, words in ((ERROR, "status 500, out of it"), (b"<html>", "status 500")):
        event = Reply(status=500, body=body, request_id="r")
        judging.ended(sent, event, answers.read(body), now=1.0)
        health.troubled(Trouble.FAULTY, now=1.0, pause_s=0.0)
        assert judging.complaint == f"refuses every line: {words}"
    long = b'{"error": {"message": "%b"}}' % (b"x" * 5_000)
    judging.ended(sent, Reply(status=500, body=long, request_id="r"), answers.read(long), now=1.0)
    assert len(judging.complaint) < 250
    judging.ended(sent, LATE, answers.NOTHING, now=1.0)
    assert judging.complaint == "leaves every line without an answer: late"
