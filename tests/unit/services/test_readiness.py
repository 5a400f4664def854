from __future__ import annotations

import asyncio

from resource_server.services.readiness import KEPT_S, Fitness, Readiness


class PartThatAnswers:
    async def available(self) -> bool:
        return True


class PartThatIsAway:
    async def available(self) -> bool:
        return False


async def test_all_is_well_if_every_part_answers():
    report = await Readiness(
        shared={"database": PartThatAnswers()}, own={"hub": PartThatAnswers()}
    ).check()
    assert (report.fitness, report.checks) == (Fitness.OK, {"database": True, "hub": True})


async def test_what_all_processes_share_degrades_them_and_takes_none_away():
    report = await Readiness(
        shared={"database": PartThatIsAway()}, own={"hub": PartThatAnswers()}
    ).check()
    assert (report.fitness, report.checks) == (Fitness.DEGRADED, {"database": False, "hub": True})


async def test_a_process_that_reaches_no_cluster_is_unfit():
    report = await Readiness(
        shared={"database": PartThatAnswers()}, own={"hub": PartThatIsAway()}
    ).check()
    assert report.fitness is Fitness.UNAVAILABLE


class PartThatCounts:
    """Answers after a while, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = True

    async def available(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        return self.answer


async def test_however_many_ask_a_part_hears_of_it_once_a_second():
    part, now = PartThatCounts(), [0.0]
    readiness = Readiness(shared={"database": part}, clock=lambda: now[0])
    await asyncio.gather(*(readiness.check() for _ in range(50)))
    assert part.asked == 1
    part.answer = False
    assert (await readiness.check()).fitness is Fitness.OK
    now[0] += KEPT_S * 1.1
    assert (await readiness.check()).fitness is Fitness.DEGRADED
    assert part.asked == 2
