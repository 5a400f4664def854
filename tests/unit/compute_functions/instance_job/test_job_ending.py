"""When a job's instance ends, and how long what is under way may take: the limits together."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from compute_functions.errors import DriverFailed
from compute_functions.instance_job.job_ending import ENDING_S, MARGIN_S, OTHERS_S, JobEnding
from compute_functions.instance_job.scheduler_job import SchedulerJob
from compute_functions.instance_job.walltime import SlurmWalltime, WalltimeAsOrdered, walltime
from compute_functions.instance_job.watches import WalltimeWatch


def ending(
    in_s: float = 1000.0, *, walltime_s: float = 3600.0, kill_wait_s: float = 30.0
) -> JobEnding:
    return JobEnding(
        ends_at=time.time() + in_s, walltime_s=walltime_s, drain_s=120.0, kill_wait_s=kill_wait_s
    )


def near(value: float) -> object:
    return pytest.approx(value, abs=2.0)


async def test_the_first_reason_counts() -> None:
    asked = ending()
    asked.warn()
    asked.terminate()
    assert await asked.asked() == "the scheduler warns of its end"


def test_streams_have_the_walltime_less_what_the_end_takes() -> None:
    assert ending().streams_s(0.0) == near(1000 - MARGIN_S - ENDING_S)


def test_the_agent_s_word_is_a_limit_too_and_may_change() -> None:
    asked = ending()
    asked.told_until = time.time() + 100
    assert asked.streams_s(0.0) == near(100)
    asked.told_until = time.time() - 5
    assert asked.streams_s(0.0) < 0
    asked.told_until = time.time() + 5000
    assert asked.streams_s(0.0) == near(990)


def test_after_sigterm_the_scheduler_s_patience_is_the_limit() -> None:
    asked = ending()
    asked.terminate()
    assert asked.streams_s(0.0) == near(30 - MARGIN_S - ENDING_S)
    assert asked.engine_s(0.0, 75.0) == near(30 - MARGIN_S)


@pytest.mark.parametrize("kill_wait_s", [5.0, 10.0])
def test_a_scheduler_of_little_patience_still_leaves_most_of_it_to_streams(
    kill_wait_s: float,
) -> None:
    asked = ending(kill_wait_s=kill_wait_s)
    asked.terminate()
    streams_s = asked.streams_s(0.0)
    assert kill_wait_s / 2 < streams_s < kill_wait_s
    # The engine has some of the rest, and so have our last words.
    assert streams_s < asked.engine_s(0.0, 75.0) < kill_wait_s


def test_slurm_s_end_of_a_cancelled_job_cuts_nothing_short() -> None:
    """Of a job that it has cancelled Slurm says that it ended then, while it still waits for it."""
    asked = ending()
    asked.terminate()
    asked.ends_at = time.time() - 1
    assert asked.streams_s(0.0) == near(30 - MARGIN_S - ENDING_S)
    assert asked.engine_s(0.0, 75.0) == near(30 - MARGIN_S)


def test_a_second_sigterm_gives_no_more_time() -> None:
    asked = ending()
    asked.terminate()
    before = time.time() + asked.streams_s(0.0)
    asked.terminate()
    assert time.time() + asked.streams_s(0.0) <= before + 0.001


def test_the_engine_gets_what_it_wants_unless_time_is_short() -> None:
    assert ending().engine_s(0.0, 75.0) == 75.0
    assert ending(20).engine_s(0.0, 75.0) == near(15)
    assert ending(-60).engine_s(0.0, 75.0) == 0.0


def test_what_only_the_engine_knows_of_is_not_waited_for_without_end() -> None:
    asked = ending(100_000)
    assert asked.others_s(time.monotonic()) == near(OTHERS_S)
    assert asked.others_s(time.monotonic() - OTHERS_S - 1) < 0
    assert ending(30).others_s(time.monotonic()) == near(20)


def test_of_a_short_walltime_little_is_kept_for_draining() -> None:
    assert ending(1000).drains_at == near(time.time() + 880)
    assert ending(100, walltime_s=120).drains_at == near(time.time() + 70)


class SchedulerThatSays:
    """Says one thing after the other; the last one for ever."""

    def __init__(self, *answers: float | DriverFailed | None) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def ends_at(self) -> float | None:
        self.asked += 1
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, DriverFailed):
            raise answer
        return answer


async def test_a_moved_end_is_seen_and_acted_on(caplog: pytest.LogCaptureFixture) -> None:
    asked = ending(1000)
    later = time.time() + 2000
    scheduler = SchedulerThatSays(DriverFailed("no answer"), None, later, time.time() + 1)
    watch = asyncio.create_task(WalltimeWatch(scheduler, asked, every_s=0.01).run())
    async with asyncio.timeout(20):
        assert await asked.asked() == "its walltime is nearly over"
    watch.cancel()
    await asyncio.wait({watch})

    assert scheduler.asked >= 4
    assert caplog.text.count("walltime_unknown") == 1


async def test_a_scheduler_that_never_answers_leaves_what_was_ordered() -> None:
    asked = ending(120.3, walltime_s=math.inf)
    scheduler = SchedulerThatSays(DriverFailed("no answer"))
    watch = asyncio.create_task(WalltimeWatch(scheduler, asked, every_s=60).run())
    async with asyncio.timeout(20):
        await asked.asked()
    watch.cancel()
    await asyncio.wait({watch})


class SchedulerThatHangs:
    """Does not answer."""

    async def ends_at(self) -> float | None:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_scheduler_that_hangs_delays_nothing() -> None:
    asked = ending(120.3, walltime_s=math.inf)
    watch = asyncio.create_task(WalltimeWatch(SchedulerThatHangs(), asked, every_s=60).run())
    try:
        async with asyncio.timeout(20):
            assert await asked.asked() == "its walltime is nearly over"
    finally:
        watch.cancel()
        await asyncio.wait({watch})


def test_a_job_is_known_by_its_scheduler_s_variables() -> None:
    slurm = SchedulerJob.of(
        {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_JOB_END_TIME": "1800000000"}
    )
    assert (slurm.job_id, slurm.node, slurm.ends_at) == ("7", "n1", 1_800_000_000.0)
    assert isinstance(walltime(slurm, {}, ends_at=1.0), SlurmWalltime)
    pbs = SchedulerJob.of({"PBS_JOBID": "12.server"})
    assert (pbs.job_id, pbs.ends_at) == ("12.server", None)
    assert isinstance(walltime(pbs, {}, ends_at=1.0), WalltimeAsOrdered)
    assert SchedulerJob.of({}).job_id.startswith("pid-")
