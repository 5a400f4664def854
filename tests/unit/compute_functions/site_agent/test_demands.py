"""Demand: what hubs say is added up and forgotten in time; when a model was used survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.contract import FOR_BATCHES, Demand, ModelDemand
from compute_functions.site_agent.demands import FORGOTTEN_AFTER_S, Demands, Wanted


class Times:
    """A wall clock and a steady one, both moved by the test."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def times() -> Times:
    return Times()


def demands(folder: Path, times: Times) -> Demands:
    return Demands(folder / "used.json", now=lambda: times.wall, clock=lambda: times.steady)


def said(hub: str, *, waiting: int = 0, running: int = 0, used_s: float | None = None) -> Demand:
    one = ModelDemand(model="m", framework="vllm", waiting=waiting, running=running, used_s=used_s)
    return Demand(hub=hub, models=(one,))


def test_what_hubs_say_is_added_up(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", waiting=2, running=1))
    known.take(said("b", waiting=3))
    assert known.wanted("m", "vllm") == Wanted(waiting=5, running=1, used_at=times.wall)
    known.take(said("a", waiting=0, running=4))
    assert known.wanted("m", "vllm") == Wanted(waiting=3, running=4, used_at=times.wall)


def test_a_hub_that_falls_silent_wants_nothing(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", waiting=2))
    used_at = times.wall
    times.pass_(FORGOTTEN_AFTER_S + 1)
    assert known.wanted("m", "vllm") == Wanted(used_at=used_at)


def test_the_first_who_waits_is_news(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    assert not known.take(said("a", running=1))
    assert known.take(said("a", waiting=1))
    assert not known.take(said("a", waiting=2))
    assert not known.take(said("b", waiting=1))
    known.take(Demand(hub="a"))
    known.take(Demand(hub="b"))
    assert known.take(said("b", waiting=1))


def test_the_last_use_counts_whoever_tells_it(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", used_s=100.0))
    known.take(said("b", used_s=30.0))
    known.take(said("a", used_s=101.0))
    assert known.wanted("m", "vllm").used_at == times.wall - 30.0


def test_when_a_model_was_used_survives(tmp_path: Path, times: Times) -> None:
    before = demands(tmp_path, times)
    before.take(said("a", used_s=30.0))
    before.flush()
    after = demands(tmp_path, times)
    after.load()
    assert after.wanted("m", "vllm") == Wanted(used_at=times.wall - 30.0)


def test_a_use_in_the_future_is_one_of_now(tmp_path: Path, times: Times) -> None:
    ahead = demands(tmp_path, times)
    ahead.take(said("a", used_s=0.0))
    ahead.flush()
    times.wall -= 3600
    after = demands(tmp_path, times)
    after.load()
    assert after.wanted("m", "vllm").used_at == times.wall


def test_uses_are_not_written_all_the_time(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", running=1))
    known.save()
    first = (tmp_path / "used.json").stat().st_mtime_ns
    times.pass_(1)
    known.take(said("a", running=1))
    known.save()
    assert (tmp_path / "used.json").stat().st_mtime_ns == first


@pytest.mark.parametrize("content", ["{half", "{}", '[["m"]]', '[["m", "vllm", "x"]]', "[3]"])
def test_a_damaged_file_is_no_use(tmp_path: Path, times: Times, content: str) -> None:
    (tmp_path / "used.json").write_text(content, encoding="utf-8")
    known = demands(tmp_path, times)
    known.load()
    assert known.all() == {}


def test_a_clock_that_is_set_makes_nobody_use_a_model_longer_ago(
    tmp_path: Path, times: Times
) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", used_s=30.0))
    times.wall += 7200.0
    known.shift(7200.0)
    (one,) = known.summed()
    assert one.used_s == 30.0


def test_a_use_in_the_time_to_come_does_not_last(tmp_path: Path, times: Times) -> None:
    known = demands(tmp_path, times)
    known.take(said("a", running=1))
    times.wall -= 7200.0  # Nobody saw that the clock was set, as between two agents.
    known.take(said("a", used_s=30.0))
    (one,) = known.summed()
    assert one.used_s == 30.0


def test_of_very_many_models_those_used_last_are_remembered(tmp_path: Path, times: Times) -> None:
    file = tmp_path / "used.json"
    known = Demands(file, now=lambda: times.wall, clock=lambda: times.steady, most=3)
    models = tuple(ModelDemand(model=f"m{n}", framework="vllm", used_s=float(n)) for n in range(6))
    known.take(Demand(hub="a", models=models))
    times.pass_(FORGOTTEN_AFTER_S + 1)
    assert {key.model for key in known.all()} == {"m0", "m1", "m2"}


def test_what_batches_used_is_told_apart_also_by_the_next_agent(
    tmp_path: Path, times: Times
) -> None:
    known = demands(tmp_path, times)
    batches = ModelDemand(model="m", framework="vllm", purpose=FOR_BATCHES, waiting=1, used_s=1.0)
    known.take(Demand(hub="site", models=(batches,)))
    known.take(Demand(hub="hub", models=(ModelDemand(model="m", framework="vllm", used_s=9.0),)))
    known.flush()
    after = demands(tmp_path, times)
    after.load()
    assert {(one.purpose, one.used_s) for one in after.summed()} == {("", 9.0), (FOR_BATCHES, 0.0)}
    assert {(one.purpose, one.waiting) for one in known.summed()} == {("", 0), (FOR_BATCHES, 1)}
