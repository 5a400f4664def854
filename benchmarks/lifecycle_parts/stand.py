"""The service that is measured: two sites on Slurm, a hot model on both, a cold one on one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.service import Say, silently
from lab.slurm_sites.model import KeptModel
from lab.slurm_sites.plan import Plan, SitePlan
from lab.slurm_sites.service import SlurmSites, slurm_sites
from lab.slurm_sites.site import SlurmSite
from lifecycle_parts.watching import alone

FIRST, SECOND = "aspen", "birch"
HOT, COLD = "lab/hot", "lab/cold"
#: The gateway's web processes, beside a hub and a controller.
WORKERS = 2
#: What their engines take to load (seconds).
HOT_LOAD_S, COLD_LOAD_S = 1.0, 2.0
PERSON = "alice@example.org"
_HOT = {"gpus": 1, "min": 1, "max": 1, "walltime": 3600, "walltime_ratio": 0.9}
_COLD = {"gpus": 1, "min": 0, "max": 1, "walltime": 3600, "idle_timeout": 2}
#: Nobody is to be refused for asking too often.
_LIMITS = {
    "limit_requests_per_minute": str(10**9),
    "limit_tokens_per_minute": str(10**12),
    "limit_concurrent_requests": str(10**6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The service, and a person's token."""

    running: SlurmSites
    token: str

    @property
    def first(self) -> SlurmSite:
        """The site that accidents befall."""
        return self.running.sites[FIRST]

    @property
    def second(self) -> SlurmSite:
        """The site that is there when the other is not."""
        return self.running.sites[SECOND]


@asynccontextmanager
async def stand(folder: Path, *, say: Say = silently, **gateway: str) -> AsyncIterator[Stand]:
    """Run it beside the body, which begins when the hot model is ready at both sites.

    `gateway` are further settings of the gateway, by name.
    """
    plan = Plan(
        sites=(SitePlan(name=FIRST, nodes=3), SitePlan(name=SECOND)),
        models=(
            KeptModel.small(HOT, (FIRST, SECOND), _HOT, load_s=HOT_LOAD_S),
            KeptModel.small(COLD, (FIRST,), _COLD, load_s=COLD_LOAD_S),
        ),
        gateway={**_LIMITS, **gateway},
        workers=WORKERS,
    )
    async with slurm_sites(folder, plan, say=say) as running:
        token = await running.token_of(PERSON)
        for site in running.sites.values():
            await alone(site, HOT)
        yield Stand(running=running, token=token)
