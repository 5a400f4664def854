"""What an instance does for batches, beside a real engine that runs already: as its job does it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compute_functions import engine_config, instances, model_config
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_settings import BatchSettings
from compute_functions.batch_spool import fate
from compute_functions.contract.batches import BatchReport
from compute_functions.contract.relay import EngineLoad
from compute_functions.instance_job import batch_runs
from compute_functions.instance_job.batch_allowance import BatchAllowance
from compute_functions.instance_job.batch_runs import BatchRuns, Place
from compute_functions.instances import Registration
from compute_functions.launch import Launch
from compute_functions.site import SiteDirectory
from lab.engine import CONFIGS, Model
from tests.support.batch_orders import BatchSite, order, sum_of
from tests.support.batch_runs import json_lines
from tests.support.engine import RunningEngine, engines_dir
from tests.support.eventually import eventually
from tests.support.slurm_site import site_yaml, write_site

#: Longer than a batch of these tests takes on a busy machine (seconds).
LONG_S = 120.0


class CallersUnseen:
    """A companion of callers who go straight to the engine: it knows of none."""

    in_flight = 0
    load: EngineLoad | None = None

    def start(self) -> None:
        """Begin."""

    def drain(self) -> None:
        """Take nothing more."""

    async def drained(self, within_s: float) -> bool:
        return True

    async def look(self) -> EngineLoad | None:
        return None


@dataclass(slots=True, kw_only=True)
class BatchNode:
    """An instance that works on batches, and the agent's part in that."""

    engine: RunningEngine
    site: BatchSite
    place: Place
    assigned: dict[str, int] = field(default_factory=dict)

    def begin(self, batch: str, endpoint: str, bodies: Sequence[dict[str, Any]]) -> None:
        """Submit a batch with a line of each body, and give it to the instance."""
        content = b"".join(
            json.dumps(
                {
                    "custom_id": f"line-{number}",
                    "method": "POST",
                    "url": endpoint,
                    "body": {"model": self.engine.model, **body},
                }
            ).encode()
            + b"\n"
            for number, body in enumerate(bodies)
        )
        salted = self.engine.framework == "vllm"
        self.site.taken(
            order(
                batch,
                model=self.engine.model,
                framework=self.engine.framework,
                upload=sum_of(content),
                cache_salt="s" * 43 if salted else None,
            )
        )
        self.site.upload(content, batch=batch)
        assert fate.begin(self.site.folder(batch), now=1.0)
        self.assigned[batch] = 1
        Assignments(fence=1, epochs=self.assigned).write(self.site.spool, self.place.instance)

    def run(self, batch: str) -> Run | None:
        """Return what the instance says of a batch's runner."""
        said = Working.read(self.site.spool, self.place.instance) or Working()
        return next((run for run in said.runs if run.batch == batch), None)

    async def ended(self, batch: str) -> BatchReport:
        """Wait for a runner's end, and return what the gateway is told."""

        def over() -> bool:
            run = self.run(batch)
            return run is not None and run.status is not None

        await eventually(over, seconds=LONG_S)
        return self.site.report(batch)

    def output(self, batch: str) -> list[dict[str, Any]]:
        """Return the lines of a batch's output file."""
        return json_lines(self.site.folder(batch).work / "output.jsonl")

    def errors(self, batch: str) -> list[dict[str, Any]]:
        """Return the lines of its error file."""
        return json_lines(self.site.folder(batch).work / "errors.jsonl")


def site_of_engines(folder: Path) -> BatchSite:
    """Make a site in `folder` that takes batches for the models of the tests' engines."""
    values = site_yaml(folder)
    values["batches"] = {"keep_free_bytes": 0}
    values["models"] = {
        "engine_files": str(CONFIGS / "engines"),
        "engines": [path.stem for path in (CONFIGS / "engines").glob("*.yaml")],
        "engines_dir": str(engines_dir()),
        "model_files": [str(CONFIGS / "models")],
        "weight_roots": [str(CONFIGS / "tiny_models"), str(engines_dir())],
    }
    return BatchSite(write_site(folder, values))


@asynccontextmanager
async def batch_node(engine: RunningEngine, name: str, site: BatchSite) -> AsyncIterator[BatchNode]:
    """Work on the batches of a site with the engine of the model file `name`."""
    registration = _registration(engine)
    site.spool.prepare()
    launch = _launch(name, site.site, registration)
    place = batch_runs.place(launch, registration, launch.runtime_root)
    runs = BatchRuns(place, CallersUnseen(), BatchAllowance(BatchSettings().slowdown))
    runs.start()
    working = asyncio.create_task(runs.run())
    try:
        yield BatchNode(engine=engine, site=site, place=place)
    finally:
        working.cancel()
        await asyncio.wait({working})


def _registration(engine: RunningEngine) -> Registration:
    found = instances.observed(SiteDirectory(engine.site_dir), time.time())
    return next(one for one in found if one.model == engine.model)


def _launch(name: str, site: SiteDirectory, registration: Registration) -> Launch:
    known = Model.named(name)
    folder = site.root / "node"
    folder.mkdir(exist_ok=True)
    return Launch(
        site=site,
        engine=engine_config.load(CONFIGS / "engines" / f"{known.engine}.yaml"),
        model=model_config.load(known.file, engines_dir()),
        name=registration.name,
        job_id=registration.job_id,
        engines_dir=engines_dir(),
        runtime_root=folder,
    )
