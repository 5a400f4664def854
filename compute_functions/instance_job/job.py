"""One instance as its order says, from the job's first second to its last."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Self

from compute_functions import engine_run, errors, processes, site_config
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract import InstanceState
from compute_functions.gpu_tools import GpuGauge
from compute_functions.instance_job import batch_runs
from compute_functions.instance_job.gpu_watch import GpuWatch
from compute_functions.instance_job.job_ending import JobEnding
from compute_functions.instance_job.ordered_launch import ordered_launch
from compute_functions.instance_job.scheduler_job import SchedulerJob
from compute_functions.instance_job.walltime import walltime
from compute_functions.instance_job.watches import CredentialWatch, OrderWatch, WalltimeWatch
from compute_functions.instances import Registration
from compute_functions.launch import Launch
from compute_functions.orders import Order
from compute_functions.registrar import Fields
from compute_functions.relay.credentials import Claims
from compute_functions.relay.handed_credentials import CredentialFile, HandedCredentials
from compute_functions.relay.supervision import beside
from compute_functions.site import SiteDirectory
from compute_functions.site_config import JobSettings

#: After a fault of a watch's own, before it begins again (seconds).
_RESTART_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The instance of one order in the job that we are in."""

    site: SiteDirectory
    order: Order
    scheduler: SchedulerJob
    started_at: float

    @classmethod
    async def found(cls, site: SiteDirectory, instance: str) -> Self:
        """Read the order, which must be there, and the scheduler's environment."""
        path = Order.file(site, instance)
        try:
            order = await asyncio.to_thread(Order.read, path)
        except OSError as error:
            raise errors.ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        scheduler = SchedulerJob.of(os.environ)
        return cls(site=site, order=order, scheduler=scheduler, started_at=time.time())

    async def run(self) -> None:
        """Run the instance to its end; raises what `engine_run.run` does."""
        try:
            config = await asyncio.to_thread(site_config.load, self.site)
            launch = await asyncio.to_thread(
                ordered_launch, self.site, self.order, self.scheduler, config
            )
            await self._run(launch, config.job, config.batches)
        except errors.ConfigurationError:
            await asyncio.to_thread(self._refuse)
            raise

    async def _run(
        self, launch: Launch, settings: JobSettings, batch_settings: BatchSettings | None
    ) -> None:
        order = self.order
        # What the environment knows, until the scheduler is asked.
        ends_at = self.scheduler.ends_at or self.started_at + order.walltime_s
        ending = JobEnding(
            ends_at=ends_at,
            walltime_s=order.walltime_s,
            drain_s=settings.drain_before_s,
            kill_wait_s=settings.kill_wait_s,
        )
        _heed_signals(ending)
        credentials = HandedCredentials(CredentialFile.of(self.site, order.instance))

        def handed(_claims: Claims) -> HandedCredentials:
            # The agent signed them with the same claims, when it knew the job's id.
            return credentials

        gauge = GpuGauge(os.environ, ordered=order.gpus)
        gpus = GpuWatch(gauge)

        def vitals() -> Fields:
            return {
                "ends_at": ending.ends_at,
                "credentials_left": credentials.left,
                "gpu_percent": gpus.percent,
            }

        clock = walltime(self.scheduler, os.environ, ends_at=ends_at)
        watches = (
            OrderWatch(self.site, order.instance, ending).run,
            WalltimeWatch(clock, ending, every_s=settings.walltime_every_s).run,
            CredentialWatch(credentials).run,
            *((gpus.run,) if gauge.is_there else ()),
        )
        async with beside(*watches, name="watch", pause_s=_RESTART_S):
            batches = None if batch_settings is None else batch_runs.work(launch, batch_settings)
            await engine_run.run(launch, ending, handed, vitals=vitals, batches=batches)

    def _refuse(self) -> None:
        """Register that there will be no instance, unless it got so far as to do so itself."""
        order, now, pid = self.order, time.time(), os.getpid()
        if self.site.registration(order.instance).exists():
            return
        Registration(
            name=order.instance,
            model=order.model,
            framework=order.framework,
            state=InstanceState.FAILED,
            endpoint="",
            api_key_file="",
            pid=pid,
            pid_start=processes.started(pid) or 0,
            job_id=self.scheduler.job_id,
            host=socket.gethostname(),
            node=self.scheduler.node,
            started_at=self.started_at,
            heartbeat=now,
            paths={},
            detail=engine_run.WRONG_FILES,
            gpus=order.gpus,
            walltime_s=order.walltime_s,
            submitted_at=order.submitted_at,
            purpose=order.purpose,
        ).write(self.site)


def _heed_signals(ending: JobEnding) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.terminate)
    loop.add_signal_handler(signal.SIGUSR1, ending.warn)
