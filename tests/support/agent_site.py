"""A site on real Slurm with the real agent: what a gateway would tell it comes by its inbox."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compute_functions.contract import (
    FOR_BATCHES,
    Demand,
    DesiredModel,
    DesiredState,
    Instance,
    ModelDemand,
    SiteStatus,
    Wishes,
)
from compute_functions.site_agent import ensuring
from compute_functions.site_agent.inbox import Inbox
from lab.processes import Child, Command, running
from lab.slurm.cluster import SlurmCluster
from lab.stand_in import clean_environment
from tests.support.eventually import eventually
from tests.support.ordered_jobs import FRAMEWORK, MODEL, OrderedSite

#: Numbers of a site that notices within a second; `limits` of its `site.yaml`.
QUICK = {
    "poll_s": 0.5,
    "heartbeat_s": 0.5,
    "start_deadline_s": 60,
    "drain_s": 60,
    "surge": 1,
}
READY_WITHIN_S = 40.0


def desired(**changes: Any) -> DesiredModel:
    """Return what is desired of the site's one model."""
    values: dict[str, Any] = {
        "model": MODEL,
        "framework": FRAMEWORK,
        "min": 0,
        "max": 1,
        "gpus": 1,
        "walltime_s": 600.0,
        "walltime_ratio": 0.9,
        "idle_timeout_s": 600.0,
    }
    return DesiredModel(**(values | changes))


def for_batches(**changes: Any) -> DesiredModel:
    """Return what a gateway desires of it with `batch: {placement: own}`."""
    alone = {"purpose": FOR_BATCHES, "refresh": False, "priority": -10_000_000}
    return desired(**(alone | changes))


@dataclass(slots=True)
class AgentSite:
    """The site, the cluster, and a gateway's part in it."""

    ordered: OrderedSite
    cluster: SlurmCluster
    revision: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, folder: Path, cluster: SlurmCluster, **changes: Any) -> AgentSite:
        """Write the site's files."""
        limits = QUICK | changes.pop("limits", {})
        ordered = OrderedSite.made(folder, limits=limits, **changes)
        environment = clean_environment() | dict(cluster.environment())
        return cls(ordered=ordered, cluster=cluster, environment=environment)

    @asynccontextmanager
    async def agent(self, name: str = "agent") -> AsyncIterator[Child]:
        """Run an agent beside the body."""
        command = Command(
            name=name,
            arguments=[
                *(sys.executable, "-m", "compute_functions.site_agent", "run"),
                *("--site-dir", str(self.ordered.site.root)),
            ],
            log=self.ordered.folder / f"{name}.log",
            environment=self.environment,
        )
        async with running(command) as child:
            yield child

    def want(self, *models: DesiredModel) -> None:
        """Say what is desired."""
        self.revision += 1
        self._say(Wishes(desired=DesiredState(generation=1, revision=self.revision, models=models)))

    def demand(self, *, waiting: int = 0, running: int = 0, used_s: float | None = None) -> None:
        """Say who wants the model, as a hub does every few seconds."""
        one = ModelDemand(
            model=MODEL, framework=FRAMEWORK, waiting=waiting, running=running, used_s=used_s
        )
        self._say(Wishes(demand=Demand(hub="hub", models=(one,))))

    def status(self) -> SiteStatus | None:
        """Return what the agent sees."""
        return ensuring.observed(self.ordered.site)

    def fence(self) -> int:
        """Return the number of the agent that was seen last; 0 for none."""
        status = self.status()
        return status.agent.fence if status and status.agent else 0

    def instances(self, state: str = "") -> list[Instance]:
        """Return the instances in a state, or all."""
        status = self.status()
        found = status.instances if status else ()
        return [one for one in found if not state or one.state == state]

    async def ready(
        self, such: Callable[[Instance], bool] = lambda _: True, *, within_s: float = READY_WITHIN_S
    ) -> Instance:
        """Wait for a ready instance."""
        await eventually(lambda: any(map(such, self.instances("ready"))), seconds=within_s)
        return next(one for one in self.instances("ready") if such(one))

    async def gone(self, name: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait until an instance is neither in the queue nor on a node."""

        def is_gone() -> bool:
            return all(
                one.name != name or one.state in {"stopped", "failed"} for one in self.instances()
            )

        await eventually(is_gone, seconds=within_s)

    def _say(self, wishes: Wishes) -> None:
        Inbox(ensuring.inbox_folder(self.ordered.site)).put(wishes, now_ns=time.time_ns())
