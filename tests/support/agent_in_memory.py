"""The agent on real files, with a scheduler in memory and a clock that tests move."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from compute_functions import enrol, site_config
from compute_functions.contract import (
    Demand,
    DesiredModel,
    DesiredState,
    InstanceState,
    ModelDemand,
    SiteStatus,
)
from compute_functions.drivers import JobState
from compute_functions.instances import Registration
from compute_functions.reconciler.policy import Policy
from compute_functions.relay.enrolment import Enrolment
from compute_functions.site import SiteDirectory
from compute_functions.site_agent.agent import SiteAgent
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.lease import MARGIN_S, TERM_S, Lease
from compute_functions.site_agent.setup import Setup
from compute_functions.site_agent.troubles import Troubles
from compute_functions.site_agent.vouching import Vouching
from compute_functions.site_config import SiteModels
from tests.support import slurm_site
from tests.support.scheduler_in_memory import SchedulerInMemory
from tests.support.slurm_site import FRAMEWORK, MODEL

HEARTBEAT_S = 1.0
POLL_S = 2.0
_POLICY = Policy(heartbeat_s=HEARTBEAT_S, slack_s=HEARTBEAT_S, proof_s=2.0, settle_s=5.0)


def desired(**changes: Any) -> DesiredModel:
    """Return what is desired of the site's one model."""
    values: dict[str, Any] = {
        "model": MODEL,
        "framework": FRAMEWORK,
        "min": 1,
        "max": 1,
        "gpus": 1,
        "walltime_s": 3600.0,
        "walltime_ratio": 0.9,
        "idle_timeout_s": 600.0,
    }
    return DesiredModel(**(values | changes))


class AgentPlant:
    """One site. Instances register when their jobs run, and beat while they are not `silent`."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        values = slurm_site.site_yaml(folder) | sections
        self.site: SiteDirectory = slurm_site.write_site(folder, values)
        self.config = site_config.load(self.site)
        self.wall, self.steady = time.time(), 100.0
        # The scheduler's clock is another host's: tests set the agent's alone.
        epoch = self.wall - self.steady
        self.scheduler = SchedulerInMemory(nodes=4, gpus=4, now=lambda: epoch + self.steady)
        self.silent: set[str] = set()
        self.told = 0
        self.revision = 0
        self.troubles = Troubles()
        self.lease = self.new_lease()
        self.enrolment: Enrolment | None = None
        self.agent: SiteAgent

    def enrol(self) -> None:
        """Enrol the site at two hubs."""
        hubs = ("--hub", "http://127.0.0.1:1", "--hub", "http://127.0.0.1:2")
        arguments = ["--site-dir", str(self.site.root), "--cluster", "alpha", "--insecure", *hubs]
        assert enrol.main(arguments) == 0
        self.enrolment = Enrolment.read(self.site)

    def new_lease(self) -> Lease:
        """Return the lease as another process would have it."""
        return Lease(self.site.agent, clock=lambda: self.steady)

    @asynccontextmanager
    async def begun(self, *, poll_s: float = POLL_S) -> AsyncIterator[SiteAgent]:
        """Have an agent at work during the block; it leaves nothing but files, as after a crash."""
        self.troubles, self.lease = Troubles(), self.new_lease()
        while not self.lease.acquire():
            self.pass_time(TERM_S + MARGIN_S + 1)
        with Disk() as disk:
            agent = SiteAgent(
                self.setup(poll_s=poll_s), disk=disk, troubles=self.troubles, told=self._note
            )
            await agent.load()
            self.agent = agent
            yield agent

    def setup(self, *, poll_s: float = POLL_S) -> Setup:
        return Setup(
            site=self.site,
            driver=self.scheduler.driver(),
            lease=self.lease,
            policy=_POLICY,
            models=SiteModels(self.config),
            partition=lambda hot: "hot" if hot else "gpu",
            version="1",
            host="login1",
            pid=1,
            poll_s=poll_s,
            vouching=Vouching(self.site, self.enrolment) if self.enrolment else None,
            batches=self.config.batches,
            now=lambda: self.wall,
            clock=lambda: self.steady,
        )

    def _note(self) -> None:
        self.told += 1

    def want(self, *models: DesiredModel) -> DesiredState:
        """Say what is desired."""
        self.revision += 1
        state = DesiredState(generation=1, revision=self.revision, models=models)
        self.agent.wish(state)
        return state

    def demand(self, *, waiting: int = 0, running: int = 0) -> None:
        """Say who wants the model."""
        one = ModelDemand(model=MODEL, framework=FRAMEWORK, waiting=waiting, running=running)
        self.agent.wish(Demand(hub="hub", models=(one,)))

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.wall += seconds
        self.steady += seconds

    async def look(self, times: int = 1, *, every_s: float = 1.0) -> SiteStatus:
        """Let the agent look, some time after the last look, and return what it sees."""
        for _ in range(times):
            self.pass_time(every_s)
            self.lease.renew()
            self.beat()
            await self.agent.look()
        assert self.agent.observation is not None
        return self.agent.observation

    def beat(self) -> None:
        """Have every instance on a node say that it lives."""
        for job in self.scheduler.all_jobs():
            ordered = (self.site.orders / f"{job.instance}.json").exists()
            if job.state is JobState.RUNNING and job.instance not in self.silent and ordered:
                self.register(job.instance, job.job_id, job.nodes[0])

    def register(
        self,
        instance: str,
        job_id: str,
        node: str = "n1",
        *,
        state: InstanceState = InstanceState.READY,
    ) -> None:
        """Write an instance's word of itself."""
        file = self.site.instances / f"{instance}.json"
        before = Registration.read(file) if file.exists() else None
        registration = Registration(
            name=instance,
            model=MODEL,
            framework=FRAMEWORK,
            state=state,
            endpoint="/socket",
            api_key_file="/key",
            pid=1,
            pid_start=1,
            job_id=job_id,
            host=node,
            node=node,
            started_at=self.wall,
            heartbeat=self.wall,
            heartbeat_s=HEARTBEAT_S,
            paths={},
            ready_at=self.wall,
            in_flight=0,
        )
        if before is not None:
            registration = replace(
                registration, started_at=before.started_at, ready_at=before.ready_at
            )
        registration.write(self.site)

    @property
    def instances(self) -> list[str]:
        """The instances for which there are orders."""
        return sorted(path.stem for path in self.site.orders.glob("*.json"))

    @property
    def trouble(self) -> str:
        """What the agent says keeps it from its work."""
        status = self.agent.observation
        return status.agent.trouble if status and status.agent else ""
