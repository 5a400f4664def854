"""Models that are loaded on request and stay for up to a day, in simulated time."""

from __future__ import annotations

import pytest

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.reconciler import ModelKey, Policy
from tests.support.simulated_site import SimulatedNode, SimulatedSite
from tests.support.watched_site import WatchedSite

pytestmark = pytest.mark.row("C-61")

HOUR = 3600.0
DAY = 24 * HOUR
LOAD_S = 600.0
MODEL = ModelKey("m", "vllm")
#: Between two looks; a day has 2,880 of them.
EVERY_S = 30.0


class CallersOfADay:
    """A site with one model that is loaded on request, and callers who come again and again."""

    def __init__(self, *, walltime_s: float, idle_timeout_s: float) -> None:
        desired = DesiredModel(
            model=MODEL.model,
            framework=MODEL.framework,
            min=0,
            max=1,
            gpus=1,
            walltime_s=walltime_s,
            walltime_ratio=0.9,
            idle_timeout_s=idle_timeout_s,
        )
        self.site = SimulatedSite(
            policy=Policy(walltime_s=DAY, drain_s=HOUR),
            nodes={"n0": SimulatedNode(name="n0", gpus=2)},
            load_s={MODEL.model: LOAD_S},
            desired={MODEL: desired},
        )
        self.watched = WatchedSite(site=self.site)
        self.began_at = self.site.now
        self.refused = 0
        self.used_at: float | None = None

    def call(self, *, for_s: float = 30.0) -> None:
        """Ask the model: who finds it away waits for it."""
        self.used_at = self.site.now
        serving = self.site.serving(MODEL)
        if serving:
            serving[-1].busy_until.append(self.site.now + for_s)
        self.refused += not serving

    def run(self, seconds: float, *, call_every_s: float = 0.0) -> None:
        """Let time pass, with a call now and then."""
        end, next_call = self.site.now + seconds, self.site.now
        while self.site.now < end:
            if call_every_s and self.site.now >= next_call:
                self.call()
                next_call += call_every_s
            self._tell()
            self.watched.run(EVERY_S, every=EVERY_S)

    def load(self) -> None:
        """Ask for the model, and wait until it is there."""
        self.used_at = self.site.now
        while not self.site.serving(MODEL):
            self.site.demand[MODEL] = ModelDemand(
                model=MODEL.model, framework=MODEL.framework, waiting=1, used_s=0.0
            )
            self.watched.run(EVERY_S, every=EVERY_S)
            assert self.site.now < 2 * LOAD_S + self.began_at

    def _tell(self) -> None:
        assert self.used_at is not None
        self.site.demand[MODEL] = ModelDemand(
            model=MODEL.model, framework=MODEL.framework, used_s=self.site.now - self.used_at
        )


def test_a_model_on_request_may_stay_for_nearly_a_day_in_one_job():
    day = CallersOfADay(walltime_s=DAY, idle_timeout_s=22 * HOUR)
    day.load()
    day.run(HOUR)
    day.call()
    (job,) = day.site.of(MODEL)
    assert job.walltime_s == DAY
    day.run(22 * HOUR - EVERY_S)
    assert [one.instance for one in day.site.serving(MODEL)] == [job.instance]
    day.run(300)
    assert not day.site.jobs
    assert day.site.submitted == 1


def test_a_model_in_use_stays_over_rollovers_for_a_day_and_goes_when_nobody_asks():
    day = CallersOfADay(walltime_s=4 * HOUR, idle_timeout_s=HOUR)
    day.load()
    day.run(DAY, call_every_s=900.0)
    assert day.refused == 0
    assert day.site.serving(MODEL)
    # A successor at 90 % of each four hours, or as early as a cold start asks for.
    assert 7 <= day.site.submitted <= 8
    last, submitted = day.used_at, day.site.submitted
    assert last is not None
    day.run(last + HOUR - day.site.now - EVERY_S)
    assert day.site.serving(MODEL)
    day.run(3 * EVERY_S)
    assert not day.site.jobs
    assert day.site.submitted == submitted


def test_a_stream_goes_on_over_the_rollover_of_a_model_on_request():
    day = CallersOfADay(walltime_s=4 * HOUR, idle_timeout_s=HOUR)
    day.load()
    (old,) = day.site.of(MODEL)
    day.run(3.5 * HOUR, call_every_s=900.0)
    assert old.ends_at is not None
    request_ends = old.ends_at - 120
    old.busy_until.append(request_ends)
    day.run(request_ends - day.site.now - EVERY_S, call_every_s=900.0)
    assert old.instance in day.site.jobs
    assert day.refused == 0
    day.run(300, call_every_s=900.0)
    assert old.instance not in day.site.jobs
    assert day.site.serving(MODEL)


@pytest.mark.parametrize("idle_timeout_s", [600.0, 2 * HOUR, 20 * HOUR])
def test_without_a_caller_it_stays_as_long_as_its_file_says(idle_timeout_s: float):
    day = CallersOfADay(walltime_s=DAY, idle_timeout_s=idle_timeout_s)
    day.load()
    day.call()
    day.run(idle_timeout_s - EVERY_S)
    assert day.site.serving(MODEL)
    day.run(300)
    assert not day.site.serving(MODEL)
