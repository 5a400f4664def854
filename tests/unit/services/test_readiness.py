from __future__ import annotations

from resource_server.services.readiness import Fitness, Readiness


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
