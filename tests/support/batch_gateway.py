"""A served gateway that takes batches, and a site behind it that really runs them.

The site is its own functions on its own spool; the test plays its agent, and `python -m batch run`
its runner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from compute_functions.batch_spool import view
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.delivery import Delivery
from compute_functions.batch_spool.fate import begin
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.errors import BatchUnknown
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.catalog import Catalog, Flag, Project
from resource_server.domain.files import FileRules
from tests.support.batch_orders import BatchSite
from tests.support.batch_plant import BatchPlant, SiteInThisProcess, at_work, cluster, model
from tests.support.batch_runs import BatchEngine, batch_run
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import served_gateway
from tests.support.local_globus import LocalGlobus

#: Alice and Bob are in one of them, Eve in none (local_globus/seed.yaml).
GROUPS = frozenset({"94090000-0000-4000-8000-000000000002", "94090000-0000-4000-8000-000000000003"})
UNBATCHED = "org/unbatched"


def batch_catalog(**offer: Any) -> Catalog:
    """Return a cluster that takes batches, a model for them, and one that takes none."""
    return Catalog(
        [cluster(batches=BatchOffer(**{"groups": GROUPS} | offer))],
        [model(), model(name=UNBATCHED, flags=frozenset({Flag.TOOLS}))],
        [Project(name="project-1")],
    )


@dataclass(slots=True)
class SiteAgent:
    """Has each batch of a site run as soon as its input is there. `held` holds them back."""

    site: BatchSite
    engine: BatchEngine
    held: bool = False
    _runners: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def work(self) -> None:
        """Look at the spool for ever."""
        delivery = Delivery(self.site.access)
        async with asyncio.TaskGroup() as tasks:
            while True:
                for folder in list(self.site.spool.folders()):
                    try:
                        seen = view.read(folder)
                    except BatchUnknown:
                        continue  # It was forgotten between the listing and the reading.
                    if seen.wants_runner and not self.held and folder.batch not in self._runners:
                        running = tasks.create_task(self._run(folder))
                        self._runners[folder.batch] = running
                    await asyncio.to_thread(delivery.attend, seen, now=time.time())
                await asyncio.sleep(0.02)

    async def _run(self, folder: BatchFolder) -> None:
        if not begin(folder, now=time.time()):
            return
        AgentState(fence=1, epoch=1, instance="tiny-1").write(folder)
        options = ("--socket", str(self.engine.socket), "--epoch", "1")
        async with batch_run(folder.work, *options) as run:
            await run.ended()


@asynccontextmanager
async def site_that_runs_batches(site: BatchSite, engine: BatchEngine) -> AsyncIterator[SiteAgent]:
    """Run the batches that come to a site, by real runners against an engine."""
    agent = SiteAgent(site, engine)
    task = asyncio.create_task(agent.work())
    try:
        yield agent
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass(slots=True, kw_only=True)
class BatchService:
    """A served gateway, its people, and the folder of its files."""

    url: str
    tokens: Mapping[str, str]
    client: aiohttp.ClientSession
    plant: BatchPlant

    def headers(self, person: str = "alice") -> dict[str, str]:
        """Return the headers with which a person calls."""
        return {"Authorization": f"Bearer {self.tokens[person]}"}

    async def ask(
        self, method: str, path: str, person: str = "alice", **options: Any
    ) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        headers = self.headers(person) | options.pop("headers", {})
        async with self.client.request(method, path, headers=headers, **options) as response:
            return response.status, await response.json()

    async def uploaded(self, content: bytes, person: str = "alice", base: str = "/v1") -> str:
        """Upload an input; return its id."""
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", content, filename="input.jsonl")
        status, file = await self.ask("POST", f"{base}/files", person, data=form)
        assert status == 200, file
        found: str = file["id"]
        return found

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    @property
    def on_disk(self) -> list[str]:
        """The names of all that is stored."""
        return sorted(path.name for path in self.plant.root.rglob("*") if path.is_file())

    @asynccontextmanager
    async def controlled(self) -> AsyncIterator[SiteInThisProcess]:
        """Have an active controller see to the batches, at the site that the environment names."""
        calls = SiteInThisProcess()
        async with at_work(self.plant.duty(calls)):
            yield calls


@asynccontextmanager
async def served_batches(
    people: tuple[LocalGlobus, Mapping[str, str]],
    folder: Path,
    *,
    offer: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
    rules: FileRules | None = None,
    **options: Any,
) -> AsyncIterator[BatchService]:
    """Serve a gateway that takes batches; a database must be there.

    `offer` changes what the cluster of `batch_catalog` offers; `catalog` stands in for all of it.
    """
    globus, tokens = people
    plant = BatchPlant(folder, catalog=catalog or batch_catalog(**(offer or {})))
    async with (
        served_gateway(
            globus,
            plant.catalog,
            backend=BackendThatEchoes(),
            disk=plant.disk,
            file_rules=rules,
            **options,
        ) as url,
        aiohttp.ClientSession(url) as client,
    ):
        yield BatchService(url=url, tokens=tokens, client=client, plant=plant)
