"""What a scheduler's environment says of the job that we are in."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

#: Where schedulers write a job's id.
_IDS = ("SLURM_JOB_ID", "PBS_JOBID")
#: Where Slurm writes a node's name; PBS's is the host's.
_NODE = "SLURMD_NODENAME"
#: Slurm's newer versions tell when the job ends, as that was when it began.
_END = "SLURM_JOB_END_TIME"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerJob:
    """The job: its id, its node, and when it ends, if that was told at its beginning."""

    job_id: str
    node: str
    ends_at: float | None = None
    is_slurm: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment; outside of a job the id is the process's."""
        found = next((environment[name] for name in _IDS if environment.get(name)), "")
        end = environment.get(_END, "")
        return cls(
            job_id=found or f"pid-{os.getpid()}",
            node=environment.get(_NODE) or socket.gethostname(),
            ends_at=float(end) if end.isdecimal() else None,
            is_slurm=bool(environment.get("SLURM_JOB_ID")),
        )
