"""When a job's walltime ends: what its scheduler says now, for an operator may have moved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from compute_functions.instance_job.scheduler_job import SchedulerJob
from compute_functions.schedulers import commands
from compute_functions.schedulers.commands import Commands
from compute_functions.schedulers.slurm import ENVIRONMENT, scontrol_job

#: A busy controller may be slow; the answer before it stays good meanwhile (seconds).
COMMAND_S = 20.0


class Walltime(Protocol):
    """Asks a scheduler."""

    async def ends_at(self) -> float | None:
        """Return the end in seconds since the epoch; None while it is not known.

        Raises `DriverFailed` if the scheduler does not answer.
        """
        ...


class SlurmWalltime:
    """Asks Slurm for the job that we are in.

    Not by its time left (`squeue -o %L`): that follows the job's limit, and not an end that an
    operator set by itself.
    """

    def __init__(self, job_id: str, environment: Mapping[str, str]) -> None:
        self._job_id = job_id
        self._commands = Commands(
            commands.environment(environment, more=ENVIRONMENT), timeout_s=COMMAND_S
        )

    async def ends_at(self) -> float | None:
        """Return what `scontrol` says."""
        return scontrol_job.read(await self._commands.output(*scontrol_job.arguments(self._job_id)))


class WalltimeAsOrdered:
    """For a scheduler that we cannot ask: the job ends when its ordered time is over."""

    def __init__(self, ends_at: float) -> None:
        self._ends_at = ends_at

    async def ends_at(self) -> float | None:
        """Return what was ordered."""
        return self._ends_at


def walltime(job: SchedulerJob, environment: Mapping[str, str], *, ends_at: float) -> Walltime:
    """Return what tells the end of a job, which for all that its environment says is `ends_at`."""
    return SlurmWalltime(job.job_id, environment) if job.is_slurm else WalltimeAsOrdered(ends_at)
