"""A site whose nodes reach nobody lives by Globus Compute tasks alone: all of a model's life.

Nothing there dials the gateway: no relay, no link of the agent. Exchanges tell the agent what is
wanted, `run_request` reaches instances by their doors, and batches go there in pieces.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from batch_parts.whole import GROUP
from lifecycle_parts.asked import Asked, End
from lifecycle_parts.asking import Asker, Question, session
from lifecycle_parts.load import Mix, load
from lifecycle_parts.watching import WITHIN_S, alone, gone, jobs, ready, successor, until

from lab.slurm_sites.model import KeptModel
from lab.slurm_sites.plan import Plan, SitePlan
from lab.slurm_sites.service import SlurmSites, slurm_sites
from lab.slurm_sites.site import SlurmSite
from tests.support.eventually import eventually_so

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

NAME = "cedar"
HOT, COLD = "lab/hot", "lab/cold"
#: What the engine says to such a question.
COUNTED = "1 2 3 4 "
#: Two callers, who ask again and again.
LIGHT = Mix(model=HOT, answers=2, streams=0, longs=0, pause_s=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of a stream."""

    comments: list[str]
    text: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The service with its one site, and how a person asks."""

    running: SlurmSites
    token: str
    opened: aiohttp.ClientSession

    @property
    def site(self) -> SlurmSite:
        return self.running.sites[NAME]

    async def ask(self, model: str) -> Asked:
        """Ask for an answer in one piece."""
        return await Asker(self.opened, self.running.base_url(NAME)).ask(Question(model=model))

    async def stream(self, model: str) -> Told:
        """Ask for a stream. Nothing can be pushed: its text comes at once, when it is whole."""
        url = f"{self.running.base_url(NAME)}/chat/completions"
        body = Question(model=model, stream=True).body()
        comments, text, events = [], "", []
        async with self.opened.post(url, json=body, raise_for_status=True) as response:
            async for raw in response.content:
                line = raw.decode().strip()
                if line.startswith(":"):
                    comments.append(line)
                elif line:
                    events.append(line.removeprefix("data: "))
        for event in events[:-1]:
            for choice in json.loads(event)["choices"]:
                text += choice["delta"].get("content") or ""
        return Told(comments=comments, text=text, end=events[-1])

    async def say(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON of an answer about batches and files."""
        url = f"{self.running.base_url(NAME)}/{path}"
        async with self.opened.request(method, url, raise_for_status=True, **options) as response:
            return await response.json()

    async def records(self, file_id: str) -> list[Any]:
        """Return the lines of a file that a batch left."""
        url = f"{self.running.base_url(NAME)}/files/{file_id}/content"
        async with self.opened.get(url, raise_for_status=True) as response:
            return [json.loads(line) async for line in response.content]


def for_batches(model: KeptModel) -> KeptModel:
    """Return the model as one that takes batches."""
    return replace(model, said={**model.said, "flags": ["B"]})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def away(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Away]:
    lifecycle = {"gpus": 1, "max": 1, "walltime": 3600, "walltime_ratio": 0.9}
    plan = Plan(
        sites=(SitePlan(name=NAME, nodes=2, egress=False, batches_for=(GROUP,)),),
        models=(
            for_batches(KeptModel.small(HOT, (NAME,), lifecycle | {"min": 1}, load_s=0.5)),
            KeptModel.small(COLD, (NAME,), lifecycle | {"min": 0, "idle_timeout": 2}, load_s=1),
        ),
    )
    folder = tmp_path_factory.mktemp("away")
    async with slurm_sites(folder, plan) as running:
        token = await running.token_of("alice@example.org")
        async with session(token) as opened:
            yield Away(running=running, token=token, opened=opened)


@pytest.mark.row("A-1", "C-27", "C-59")
async def test_a_hot_model_is_started_by_tasks_and_answers_by_them(away: Away) -> None:
    asked = await away.ask(HOT)

    assert asked.end is End.WHOLE, asked.detail
    assert asked.node in away.site.cluster.nodes
    assert (away.site.directory.root / "relay").exists() is False
    assert "site_link" not in await asyncio.to_thread(away.site.agent_log.read_text)


@pytest.mark.row("A-14", "A-15", "C-6", "C-60", "L-24")
async def test_a_cold_model_is_told_of_answered_and_let_go_when_idle(away: Away) -> None:
    # Another test may have had it loaded.
    await alone(away.site, COLD, number=0)
    told = await away.stream(COLD)

    assert (told.text, told.end) == (COUNTED, "[DONE]")
    states = ("state=queued", "state=starting")
    assert any(state in one for one in told.comments for state in states), told.comments
    first = ready(away.site, COLD)
    assert first is not None
    await until(lambda: gone(away.site, first.name), what="its end")
    # Slurm lists its job for a moment longer.
    await alone(away.site, COLD, number=0)

    again = await away.stream(COLD)

    assert (again.text, again.end) == (COUNTED, "[DONE]")
    # By now the site knows how long that takes.
    assert any("estimated_wait_s=" in one for one in again.comments), again.comments


@pytest.mark.row("A-19", "L-22", "L-29")
async def test_a_walltime_that_ends_costs_no_request(away: Away) -> None:
    await alone(away.site, HOT)
    before = ready(away.site, HOT)
    assert before is not None
    async with load(away.running.base_url(NAME), away.token, LIGHT) as loaded:
        await away.site.expire(before, in_s=20)
        await until(lambda: successor(away.site, HOT, of=before.name), what="a successor")
        await until(lambda: gone(away.site, before.name), what="the end of the old one")

    outcome = loaded.outcome
    assert outcome.count(End.WHOLE) > 1
    assert outcome.told() == f"{len(outcome.asked)} whole"


async def test_a_killed_agent_is_started_by_the_next_exchange(away: Away) -> None:
    await alone(away.site, COLD, number=0)
    before = away.site.agent()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)

    asked = await away.ask(COLD)

    assert asked.end is End.WHOLE, asked.detail
    now = away.site.agent()
    assert now is not None
    assert now.pid != before.pid
    assert now.fence > before.fence
    assert await jobs(away.site, HOT) == 1


def of_lines(names: list[str]) -> bytes:
    """Return an input with a line for each of these names."""
    line = {"method": "POST", "url": "/v1/chat/completions", "body": Question(model=HOT).body()}
    return "".join(json.dumps({"custom_id": name} | line) + "\n" for name in names).encode()


@pytest.mark.row("C-26", "C-43", "C-58")
async def test_a_batch_goes_there_by_tasks_is_done_and_its_results_come_back(away: Away) -> None:
    names = ["q-1", "q-2", "q-3"]
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", of_lines(names), filename="in.jsonl")
    file = await away.say("POST", "files", data=form)
    batch = await away.say("POST", "batches", json={"input_file_id": file["id"]})

    async def over() -> bool:
        nonlocal batch
        batch = await away.say("GET", f"batches/{batch['id']}")
        return batch["completed_at"] or batch["failed_at"]

    await eventually_so(over, seconds=WITHIN_S, every_s=0.5)

    assert (batch["status"], batch["errors"]) == ("completed", None)
    assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    records = await away.records(batch["output_file_id"])
    assert [record["custom_id"] for record in records] == names
    texts = [record["response"]["body"]["choices"][0]["message"]["content"] for record in records]
    assert texts == [COUNTED] * len(names)
    assert "site_link" not in await asyncio.to_thread(away.site.agent_log.read_text)
