"""A scheduler in memory, and the driver for it: jobs begin when GPUs are free, and never by chance.

Its faults are switched on by tests; without any it keeps the contract of `InstanceDriver`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from compute_functions.drivers import Capacity, Job, JobState
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.orders import Order


@dataclass(slots=True)
class _Entry:
    """One job and what it asked for."""

    job: Job
    gpus: int
    exclude: frozenset[str]
    begun_at: float | None = None


@dataclass(slots=True)
class Faults:
    """What goes wrong, until the test mends it."""

    #: Every question and every command fails.
    away: bool = False
    #: Commands are taken, and their answers lost.
    loses_answers: bool = False
    refuses_jobs: bool = False
    #: Jobs do not arrive, and nobody knows.
    loses_jobs: bool = False
    refuses_cancels: bool = False
    knows_no_sizes: bool = False
    #: Instances that no list has.
    hidden: set[str] = field(default_factory=set)
    #: Nothing is answered before this is set.
    answers: asyncio.Event | None = None


class SchedulerInMemory:
    """Nodes with GPUs, and jobs on them. `jobs_of_others` are not ours and never listed."""

    def __init__(
        self, *, nodes: int = 2, gpus: int = 4, now: Callable[[], float] = time.time
    ) -> None:
        self.faults = Faults()
        self.submissions: list[Order] = []
        self.excluded: list[frozenset[str]] = []
        self.questions = 0
        self._gpus = {f"n{n}": gpus for n in range(1, nodes + 1)}
        self._now = now
        self._ids = itertools.count(1)
        self._entries: dict[str, _Entry] = {}

    @property
    def ids(self) -> list[str]:
        """The jobs that there are, whether they are listed or not."""
        return list(self._entries)

    def end(self, *job_ids: str) -> None:
        """End jobs behind everybody's back."""
        for job_id in job_ids:
            self._entries.pop(job_id, None)

    def put(self, job: Job, *, gpus: int = 1) -> None:
        """Have a job there that this driver did not submit."""
        begun_at = None if job.state is JobState.PENDING else self._now()
        self._entries[job.job_id] = _Entry(job, gpus, frozenset(), begun_at)

    def driver(self) -> InMemoryDriver:
        """Return a driver that knows nothing of any other."""
        return InMemoryDriver(self)

    # What the driver asks of it

    def take(self, order: Order, exclude: frozenset[str]) -> str:
        """Take a job, or raise `DriverFailed`."""
        if self.faults.refuses_jobs or order.gpus > max(self._gpus.values()):
            raise SubmissionRefused("sbatch: no such node")
        if self.faults.loses_jobs:
            raise DriverFailed("sbatch: no answer in time")
        self.submissions.append(order)
        self.excluded.append(exclude)
        job_id = str(next(self._ids))
        job = Job(
            job_id=job_id,
            instance=order.instance,
            state=JobState.PENDING,
            generation=order.generation,
            fence=order.fence,
            model=order.model,
            purpose=order.purpose,
            limit_s=order.walltime_s,
            submitted_at=self._now(),
        )
        self._entries[job_id] = _Entry(job, order.gpus, exclude)
        return job_id

    def listed(self) -> tuple[Job, ...]:
        """Return the jobs as they are now."""
        self._schedule()
        return tuple(
            entry.job
            for entry in self._entries.values()
            if entry.job.instance not in self.faults.hidden
        )

    def all_jobs(self) -> tuple[Job, ...]:
        """Return what runs really, whatever the lists have."""
        self._schedule()
        return tuple(entry.job for entry in self._entries.values())

    def free(self) -> dict[str, int]:
        """Return the GPUs that are free on each node."""
        free = dict(self._gpus)
        for entry in self._entries.values():
            for node in entry.job.nodes:
                free[node] -= entry.gpus
        return free

    @property
    def size(self) -> int:
        """How many GPUs there are."""
        return sum(self._gpus.values())

    def wait_for(self, gpus: int) -> float:
        """Return after how many seconds so many GPUs are free on some node."""
        self._schedule()
        if any(free >= gpus for free in self.free().values()):
            return 0.0
        return min(entry.job.left_s or 0.0 for entry in self._entries.values() if entry.job.nodes)

    def _schedule(self) -> None:
        for entry in list(self._entries.values()):
            if entry.job.state is JobState.PENDING:
                self._begin(entry)
            elif entry.job.limit_s is not None and entry.begun_at is not None:
                left_s = entry.begun_at + entry.job.limit_s - self._now()
                entry.job = replace(entry.job, left_s=left_s)
                if left_s <= 0:
                    del self._entries[entry.job.job_id]

    def _begin(self, entry: _Entry) -> None:
        free = self.free()
        fitting = [n for n in sorted(free) if n not in entry.exclude and free[n] >= entry.gpus]
        if not fitting:
            entry.job = replace(entry.job, reason="Resources")
            return
        entry.begun_at = self._now()
        entry.job = replace(
            entry.job,
            state=JobState.RUNNING,
            nodes=(fitting[0],),
            left_s=entry.job.limit_s,
            reason="",
        )


class InMemoryDriver:
    """An `InstanceDriver` for it."""

    def __init__(self, scheduler: SchedulerInMemory) -> None:
        self._scheduler = scheduler

    async def submit(self, order: Order, *, exclude: Collection[str] = ()) -> str:
        await self._reached()
        job_id = self._scheduler.take(order, frozenset(exclude))
        self._answered()
        return job_id

    async def jobs(self) -> tuple[Job, ...]:
        self._scheduler.questions += 1
        await self._reached()
        return self._scheduler.listed()

    async def cancel(self, job_ids: Collection[str]) -> None:
        await self._reached()
        if self._scheduler.faults.refuses_cancels and job_ids:
            raise DriverFailed("scancel: not today")
        self._scheduler.end(*job_ids)
        self._answered()

    async def starts_in(self, order: Order) -> float | None:
        await self._reached()
        return self._scheduler.wait_for(order.gpus)

    async def capacity(self) -> Capacity:
        await self._reached()
        if self._scheduler.faults.knows_no_sizes:
            raise DriverFailed("sinfo: not today")
        self._scheduler.listed()
        free = self._scheduler.free()
        return Capacity(
            gpus=self._scheduler.size, free_gpus=sum(free.values()), nodes=tuple(sorted(free))
        )

    async def _reached(self) -> None:
        if self._scheduler.faults.answers is not None:
            await self._scheduler.faults.answers.wait()
        if self._scheduler.faults.away:
            raise DriverFailed("the controller is away")

    def _answered(self) -> None:
        if self._scheduler.faults.loses_answers:
            raise DriverFailed("no answer in time")
