"""The port behind which instances become jobs of a scheduler."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from compute_functions.orders import Order


class JobState(StrEnum):
    """Where a job stands in the scheduler, whatever that calls it."""

    PENDING = "pending"
    RUNNING = "running"
    #: Told to end, or ending by itself: its node is not free yet.
    ENDING = "ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of ours as the scheduler sees it. Times are seconds since the epoch.

    `nodes` are where it runs, `left_s` what is left of its walltime, `starts_at` when the scheduler
    thinks that it starts; each empty or None while nobody knows. `reason` is why it waits, in the
    scheduler's words; `ahead` is how many jobs of its partition are before it.
    """

    job_id: str
    instance: str
    state: JobState
    generation: int
    fence: int
    model: str = ""
    nodes: tuple[str, ...] = ()
    left_s: float | None = None
    limit_s: float | None = None
    reason: str = ""
    starts_at: float | None = None
    submitted_at: float | None = None
    ahead: int | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the site's partition could give us now: GPUs in all and free, nodes that are down."""

    gpus: int
    free_gpus: int
    nodes: tuple[str, ...] = ()
    down: frozenset[str] = frozenset()


class InstanceDriver(Protocol):
    """Submits, lists and cancels instances. Every method may raise `DriverFailed`.

    No method waits longer than its own limit.
    """

    async def submit(self, order: Order, *, exclude: Collection[str] = ()) -> str:
        """Submit an instance's job, on none of these nodes, and return the job's id.

        After a `SubmissionRefused` there is no job. After any other failure it may have been
        submitted all the same: `jobs` will tell.
        """

    async def jobs(self) -> tuple[Job, ...]:
        """Return all jobs of ours that have not ended; foreign ones are passed over."""

    async def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs; those that have ended are no error."""

    async def starts_in(self, order: Order) -> float | None:
        """Return in how many seconds such a job would start; None if nobody can say."""

    async def capacity(self) -> Capacity:
        """Return what there is."""
