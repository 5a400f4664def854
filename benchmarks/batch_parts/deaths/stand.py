"""The service whose parts are killed: a site with four nodes before a gateway of five processes.

Its models are served by an engine that keeps a diary of all that it was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from lifecycle_parts.stand import COLD, FIRST, HOT, PERSON, WORKERS
from lifecycle_parts.watching import alone

from batch import whole_file
from batch_parts.deaths.diary import Diary
from batch_parts.whole import GROUP
from compute_functions.batch_spool.folders import Spool
from lab.service import Say, silently
from lab.slurm_sites.model import KeptModel
from lab.slurm_sites.plan import Plan, SitePlan
from lab.slurm_sites.service import SlurmSites, slurm_sites
from lab.slurm_sites.site import SlurmSite

#: So many instances of the hot model, each on a node of its own; more nodes are free, for one
#: without power, and one that sleeps, are away for as long as Slurm takes to notice.
INSTANCES, FREE_NODES = 2, 2
#: So many lines at a time while things die, and afterwards, when only the rest is to be done.
SLOWLY, QUICKLY = 8, 96
LOAD_S = 1.0
_HOT = {"gpus": 1, "min": INSTANCES, "max": INSTANCES, "walltime": 3600, "walltime_ratio": 0.9}
_COLD = {"gpus": 1, "min": 0, "max": 1, "walltime": 3600, "idle_timeout": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The service, its one site, and a person's token."""

    running: SlurmSites
    token: str

    @property
    def site(self) -> SlurmSite:
        """The site that does the batches."""
        return self.running.sites[FIRST]

    @property
    def spool(self) -> Spool:
        """Where it keeps them."""
        return Spool.of(self.site.directory)

    def diary(self, model: str) -> Diary:
        """Return what the engines of a model were asked."""
        return Diary(_diary(self.running.folder, model))

    def bound(self, model: str, lines: int) -> None:
        """Let the site have so many lines of a batch under way, as its operators do."""
        file = self.site.directory.root / "files" / "models" / f"{_short(model)}.yaml"
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        said["batch"] = {"concurrency": lines}
        whole_file.replace(file, yaml.safe_dump(said, sort_keys=False).encode())


@asynccontextmanager
async def stand(folder: Path, *, say: Say = silently, **gateway: str) -> AsyncIterator[Stand]:
    """Run it beside the body, which begins when the hot model is ready.

    `gateway` are further settings of the gateway, by name.
    """
    plan = Plan(
        sites=(SitePlan(name=FIRST, nodes=INSTANCES + FREE_NODES, gpus=1, batches_for=(GROUP,)),),
        models=(_model(folder, HOT, _HOT), _model(folder, COLD, _COLD)),
        gateway=gateway,
        workers=WORKERS,
    )
    async with slurm_sites(folder, plan, say=say) as running:
        token = await running.token_of(PERSON)
        await alone(running.sites[FIRST], HOT, number=INSTANCES)
        yield Stand(running=running, token=token)


def _model(folder: Path, name: str, lifecycle: Mapping[str, object]) -> KeptModel:
    made = KeptModel.small(name, (FIRST,), lifecycle, load_s=LOAD_S)
    arguments = [*made.said["arguments"], "--diary", str(_diary(folder, name))]
    own = {"flags": ["B"], "batch": {"concurrency": SLOWLY}, "arguments": arguments}
    return replace(made, said={**made.said, **own})


def _diary(folder: Path, model: str) -> Path:
    return folder / f"{_short(model)}.diary"


def _short(model: str) -> str:
    return model.rpartition("/")[2]
