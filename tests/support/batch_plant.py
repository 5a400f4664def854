"""The gateway's batches without HTTP: real tables and disk, and a real site's functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from compute_functions.batch_spool.calls import batch_file, run_batch
from compute_functions.contract import JsonObject
from resource_server.adapters.stored_files import StoredFiles
from resource_server.domain import errors
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.batch_requests import BatchRequest
from resource_server.domain.batches import Batch, Stage
from resource_server.domain.catalog import Catalog, Cluster, Flag, Framework, Model
from resource_server.domain.files import FileRules, StoredFile, Upload
from resource_server.domain.identity import Person
from resource_server.domain.routing import Base
from resource_server.domain.site_functions import SiteFunction
from resource_server.domain.upkeep import Upkeep
from resource_server.ports import SiteCalls, SiteViews, Tenure
from resource_server.services.batch_duties import BatchDuty, Means
from resource_server.services.batches import Batches, BatchRules
from resource_server.services.catalog import LiveCatalog
from resource_server.services.files import Files, owners_of
from resource_server.services.sessions import CacheSalts
from resource_server.services.site_board import SiteBoard
from resource_server.services.tenure import LeasedTenure, clock
from resource_server.store.batches import BatchRows
from resource_server.store.files import FileRows
from resource_server.store.lease import LeaseTable
from tests.support import catalogs
from tests.support.batch_orders import over_json
from tests.support.doubles import person
from tests.support.gateway import StoreThatHolds
from tests.support.slurm_site import FRAMEWORK, MODEL

#: Whose members may have batches done.
GROUP = "20000000-0000-4000-8000-000000000001"
CLUSTER = "site"
KEPT = Upkeep(gpus=1, walltime_s=3600)
ALICE = person("alice@example.org", GROUP)
BOB = person("bob@example.org", GROUP)
CAROL = person("carol@example.org", GROUP)
EVE = person("eve@example.org")
_FUNCTIONS: dict[SiteFunction, Callable[[object], JsonObject]] = {
    SiteFunction.RUN_BATCH: run_batch,
    SiteFunction.BATCH_FILE: batch_file,
}


class SiteInThisProcess:
    """Calls the functions of the site that the environment names; `away`, it gives no answer."""

    def __init__(self, *, every_s: float = 0.02) -> None:
        self.called: list[tuple[str, JsonObject]] = []
        self.away = False
        self._every_s = every_s

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        self.called.append((cluster.name, wire))
        if self.away:
            raise errors.BackendUnavailable(f"The cluster '{cluster.name}' is offline.")
        return over_json(await asyncio.to_thread(_FUNCTIONS[function], over_json(wire)))

    def pause_s(self, cluster: Cluster) -> float:
        return self._every_s

    def verbs(self) -> list[str]:
        """Return what was asked of batches, in order."""
        return [wire["verb"] for _, wire in self.called if "verb" in wire]


def offer(**changes: object) -> BatchOffer:
    return replace(BatchOffer(groups=frozenset({GROUP})), **changes)  # type: ignore[arg-type]


def cluster(name: str = CLUSTER, batches: BatchOffer | None = None) -> Cluster:
    """Return a cluster that takes batches."""
    return replace(
        catalogs.cluster(name),
        frameworks={FRAMEWORK: Framework(name=FRAMEWORK)},
        batches=batches or offer(),
    )


def model(*places: str, name: str = MODEL, flags: frozenset[Flag] | None = None) -> Model:
    """Return a model that takes batches, kept at clusters."""
    found = catalogs.model(name, *(f"{place}/{FRAMEWORK}" for place in places or (CLUSTER,)))
    return replace(
        found,
        flags=frozenset({Flag.BATCH}) if flags is None else flags,
        deployments=tuple(replace(one, upkeep=KEPT) for one in found.deployments),
    )


async def stream(content: bytes, *, cut: int = 1000) -> AsyncIterator[bytes]:
    """Yield some content as it comes from a network."""
    for begin in range(0, len(content), cut):
        yield content[begin : begin + cut]


@dataclass(slots=True)
class BatchPlant:
    """Services over one database and one folder. What it is made of may be replaced."""

    root: Path
    catalog: Catalog = field(default_factory=lambda: Catalog([cluster()], [model()]))
    views: SiteViews = field(default_factory=lambda: SiteBoard("test"))
    rules: FileRules = field(default_factory=FileRules)
    clock: Callable[[], float] = time.time
    kind_of_disk: type[StoredFiles] = StoredFiles

    @property
    def disk(self) -> StoredFiles:
        return self.kind_of_disk(self.root, clock=self.clock)

    @property
    def files(self) -> Files:
        return Files(FileRows(clock=self.clock), self.disk, rules=self.rules, clock=self.clock)

    @property
    def batches(self) -> Batches:
        return Batches(
            lambda: self.catalog,
            BatchRows(clock=self.clock),
            FileRows(clock=self.clock),
            self.disk,
            views=self.views,
            salts=CacheSalts(b"k" * 32),
            rules=BatchRules(),
            clock=self.clock,
        )

    async def uploaded(self, content: bytes, by: Person = ALICE) -> StoredFile:
        """Store an input."""
        return await self.files.create(by, Upload(filename="input.jsonl"), stream(content))

    async def created(self, content: bytes, by: Person = ALICE, **values: object) -> Batch:
        """Make a batch of an input."""
        file = await self.uploaded(content, by)
        request = BatchRequest(input_file_id=file.id, **values)  # type: ignore[arg-type]
        return await self.batches.create(by, Base(), request)

    async def content(self, file_id: str, by: Person = ALICE) -> bytes:
        """Return what somebody downloads."""
        found = await self.files.content(by, file_id)
        return b"".join([piece async for piece in found.content])

    async def batch(self, batch_id: str, by: Person = ALICE) -> Batch:
        """Return a batch as its row is now."""
        return await BatchRows().get(owners_of(by), batch_id)

    def duty(self, calls: SiteCalls, **means: object) -> BatchDuty:
        """Return what the controller does."""
        made = Means(
            table=BatchRows(clock=self.clock),
            disk=self.disk,
            calls=calls,
            catalog=lambda: self.catalog,
            clock=self.clock,
            trouble_pause_s=0.05,
        )
        catalog = LiveCatalog(StoreThatHolds(self.catalog))
        return BatchDuty(replace(made, **means), catalog, look_s=0.01)  # type: ignore[arg-type]


async def tenure() -> Tenure:
    """Return the tenure of a controller that takes over now, whoever was the active one."""
    lease = LeaseTable("test", term_s=0.0)
    fence = await lease.acquire()
    assert fence is not None
    return LeasedTenure(fence, asked_at=clock(), term_s=300.0)


@asynccontextmanager
async def at_work(duty: BatchDuty) -> AsyncIterator[asyncio.Task[None]]:
    """Have the duty done by a new active controller during the block."""
    task = asyncio.create_task(duty.perform(await tenure()))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def is_settled(batch: Batch) -> bool:
    """Tell whether nothing is left to do for a batch."""
    return batch.stage is Stage.DONE
