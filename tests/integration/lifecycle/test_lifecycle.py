"""Models on two real Slurm clusters, under load: what callers see when something ends or dies.

In small what `benchmarks/lifecycle.py` measures; nothing here depends on how fast anything is.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from lifecycle_parts.asked import End
from lifecycle_parts.asking import Asker, Question, session
from lifecycle_parts.load import Mix
from lifecycle_parts.measures.calls import calls
from lifecycle_parts.measures.cold import cold_start
from lifecycle_parts.measures.kills import kill
from lifecycle_parts.measures.power import power_cut
from lifecycle_parts.measures.rollovers import rollovers
from lifecycle_parts.measures.victims import VICTIMS
from lifecycle_parts.stand import COLD, FIRST, HOT, SECOND, Stand

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

#: What may become of an answer whose node or process dies: it is whole, or says that it is not.
TRUE = (End.WHOLE, End.HONEST)
#: Long streams are under way when it happens, and nobody waits for others at the end.
BRIEF = Mix(model=HOT, long_s=5.0, once=True)

#: It takes half a minute here, and has a test with two agents in `tests/integration/site_agent/`.
ELSEWHERE = "site agent, stopped"


async def got(stand: Stand, path: str) -> Any:
    async with (
        session(stand.token) as opened,
        opened.get(stand.running.gateway.url + path, raise_for_status=True) as response,
    ):
        return await response.json()


@pytest.mark.row("A-1", "A-2", "C-5", "C-27", "C-59")
async def test_a_hot_model_serves_at_both_sites_though_nobody_asked_for_it(stand: Stand) -> None:
    async with session(stand.token) as opened:
        for cluster in (FIRST, SECOND):
            asked = await Asker(opened, stand.running.base_url(cluster)).ask(Question(model=HOT))
            assert asked.end is End.WHOLE
            assert asked.node in stand.running.sites[cluster].cluster.nodes

    jobs = await got(stand, f"/resource_server/{FIRST}/jobs")
    (job,) = [one for one in jobs["running"] if one["Models"] == HOT]
    assert job["Model State"] == "Live"
    assert job["Host Name"] in stand.first.cluster.nodes
    assert job["Walltime"] == "01:00:00"


@pytest.mark.row("A-14", "A-15", "A-52", "C-6", "C-8", "C-55", "C-60", "C-67", "L-24", "L-28")
async def test_who_asks_for_a_cold_model_is_told_how_it_stands_and_then_answered(
    stand: Stand,
) -> None:
    before = await state_of(stand, COLD)
    began = await cold_start(stand)

    assert before == "idle"
    assert began.asked.end is End.WHOLE
    assert began.asked.node in stand.first.cluster.nodes
    assert any("state=queued" in one or "state=starting" in one for one in began.comments)
    assert await state_of(stand, HOT) == "ready"
    # Nobody used it for as long as its file says, and its place is free again.
    assert await state_of(stand, COLD) == "idle"

    again = await cold_start(stand)

    assert again.asked.end is End.WHOLE
    # By now the site knows how long that takes.
    assert any("estimated_wait_s=" in one for one in again.comments)


async def state_of(stand: Stand, model: str) -> str:
    listed = await got(stand, f"/resource_server/{FIRST}/vllm/v1/models")
    (found,) = [one for one in listed["data"] if one["id"] == model]
    return str(found["state"])


@pytest.mark.row("A-19", "L-22", "L-23", "L-26", "L-29")
async def test_a_walltime_that_ends_under_load_costs_no_request(stand: Stand) -> None:
    found = await rollovers(stand, 1, mix=Mix(model=HOT, longs=8, long_s=24.0, once=True))

    assert found.outcome.count(*TRUE) > 0
    assert found.outcome.told() == f"{len(found.outcome.asked)} whole"
    assert found.gap_s == 0
    assert found.outlasted > 0, "no stream was longer than the take-over"


async def test_of_a_node_without_power_every_answer_is_true_and_another_site_serves(
    stand: Stand,
) -> None:
    found = await power_cut(stand, BRIEF)

    assert found.outcome.count(*TRUE) == len(found.outcome.asked), found.outcome.told()
    assert found.honest > 0, "nothing was on the node"
    # Nobody had noticed yet.
    assert found.after.end is End.WHOLE
    assert found.after.node in stand.second.cluster.nodes


@pytest.mark.parametrize("victim", [name for name in VICTIMS if name != ELSEWHERE])
async def test_what_is_killed_comes_back_by_itself_and_nothing_hangs_or_is_doubled(
    stand: Stand, victim: str
) -> None:
    found = await kill(stand, victim, BRIEF)

    assert (found.jobs, found.needless) == (1, 0)
    assert found.outcome.count(End.WHOLE) > 0
    # What is not on the way of requests costs none; of the others' some were under way.
    assert found.wronged == 0, found.outcome.told()
    assert bool(found.outcome.failed) == bool(VICTIMS[victim].may), found.outcome.told()
    # Each caller lost at most the connection on which it was asking.
    assert found.outcome.count(End.CUT) <= len(BRIEF.callers()), found.outcome.told()


async def test_callers_cost_globus_nothing_when_relays_carry_them(stand: Stand) -> None:
    before = await asyncio.to_thread(stand.first.agent_log.read_text)
    found = await calls(stand, 6.0)

    assert found.per_second < 1
    assert (
        "submit instance"
        not in (await asyncio.to_thread(stand.first.agent_log.read_text))[len(before) :]
    )


async def test_a_stranger_sees_no_jobs(stand: Stand) -> None:
    async with aiohttp.ClientSession() as opened:
        url = f"{stand.running.gateway.url}/resource_server/{FIRST}/jobs"
        async with opened.get(url) as response:
            assert response.status == 401
