"""Whether the engine is asked, how it is probed, and when patience with it ends."""

from __future__ import annotations

import pytest

from batch.doubts import FEW
from batch.health import LONGEST_PROBE_S, MORE_PROBE, PROBE_S, Health
from batch.retries import Trouble


@pytest.fixture
def health() -> Health:
    return Health(patience_s=60.0)


def refused(health: Health, now: float) -> float:
    """Note a refusal; return for how long the engine is left alone then."""
    health.troubled(Trouble.FAULTY, now=now, pause_s=0.0)
    return health.wait_s(now)


def test_probes_of_an_engine_that_refuses_come_ever_more_seldom(health: Health):
    waits, now = [], 0.0
    for _ in range(22):
        waits.append(refused(health, now))
        now += waits[-1]
        health.ready()
        assert (health.open, health.probing) == (True, True)
    assert waits[0] == PROBE_S
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(LONGEST_PROBE_S)
    # As many as may speak for themselves are asked long before patience ends.
    assert sum(waits[:FEW]) < 30.0
    assert health.left_s(now) == pytest.approx(max(60.0 - now, 0.0))


def test_lines_that_are_refused_together_are_one_probe(health: Health):
    assert [refused(health, 1.0) for _ in range(32)] == [PROBE_S] * 32


def test_a_sound_answer_opens_at_once_and_all_is_forgotten(health: Health):
    refused(health, 0.0)
    health.sound(1.0)
    assert (health.open, health.probing, health.sound_at) == (True, False, 1.0)
    assert health.left_s(59.0) == 60.0
    assert refused(health, 70.0) == PROBE_S


def test_a_lines_own_mistake_opens_and_vouches_for_nothing(health: Health):
    refused(health, 0.0)
    health.settled(1.0)
    assert (health.open, health.probing, health.settled_at) == (True, False, 1.0)
    assert (health.sound_at, health.serves) == (float("-inf"), False)
    # The next refusal is not the first one.
    assert refused(health, 2.0) == pytest.approx(MORE_PROBE * PROBE_S)


@pytest.mark.parametrize("other", [Trouble.LOST, Trouble.BUSY])
def test_one_that_is_away_or_busy_between_refusals_tires_all_the_same(
    health: Health, other: Trouble
):
    for now in range(0, 60, 2):
        refused(health, float(now))
        health.ready()
        health.troubled(other, now=now + 1.0, pause_s=0.0)
        health.ready()
    assert health.probing
    assert health.left_s(60.0) == 0.0


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.DOUBTED])
def test_with_some_troubles_it_is_enough_that_the_engine_is_ready(health: Health, trouble: Trouble):
    refused(health, 0.0) if trouble is Trouble.DOUBTED else None
    health.troubled(trouble, now=1.0, pause_s=0.0)
    assert (health.open, health.probing) == (False, False)
    health.ready()
    assert (health.open, health.trouble) == (True, Trouble.NONE)
    assert health.left_s(100.0) == 60.0


@pytest.mark.parametrize(
    "away", [Trouble.LOST, Trouble.MUTE, Trouble.BUSY, Trouble.DOUBTED], ids=lambda one: one.value
)
def test_whoever_is_there_after_it_was_lost_or_busy_may_be_another(health: Health, away: Trouble):
    health.sound(0.0)
    assert health.serves
    refused(health, 1.0)
    assert health.serves
    health.troubled(away, now=2.0, pause_s=0.0)
    assert not health.serves


def test_one_that_left_lines_without_an_answer_is_asked_one_when_it_says_that_it_is_ready(
    health: Health,
):
    for now in range(60):
        health.troubled(Trouble.MUTE, now=float(now), pause_s=0.0)
        assert health.probing is (now > 0)
        health.ready()
        assert (health.open, health.probing) == (True, True)
    # Its word that it is ready does not count.
    assert health.left_s(60.0) == 0.0
    health.sound(60.0)
    assert not health.probing


def test_one_that_never_says_that_it_is_ready_is_not_probed(health: Health):
    health.troubled(Trouble.MUTE, now=0.0, pause_s=0.0)
    assert (health.open, health.probing, health.left_s(60.0)) == (False, False, 0.0)


def test_in_the_pause_after_a_line_in_doubt_nothing_is_the_matter_with_it(health: Health):
    health.troubled(Trouble.DOUBTED, now=0.0, pause_s=1.0)
    assert [health.listens(now) for now in (0.5, 1.5)] == [True, False]
    health.ready()
    assert health.listens(1.5)
    health.troubled(Trouble.LOST, now=2.0, pause_s=1.0)
    assert not health.listens(2.5)
