"""What Slurm says of our jobs and of the nodes, in the words of the port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from compute_functions.drivers.driver import Capacity, Job, JobState
from compute_functions.drivers.job_comment import JobComment
from compute_functions.errors import DriverFailed
from compute_functions.schedulers.commands import Commands
from compute_functions.schedulers.slurm import scontrol_config, sinfo, squeue
from compute_functions.schedulers.slurm.squeue import QueuedJob, WaitingJob

log = logging.getLogger(__name__)

#: Listing everybody's jobs is dear on a large site: places in the queue may be so old, or so when
#: another set of our jobs waits than was ranked (seconds).
RANK_EVERY_S = 30.0
RANK_CHANGED_AFTER_S = 5.0

#: A node that is being booted for a job counts as waiting: nothing can have started there.
_STATES = {
    **dict.fromkeys(
        (
            *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD"),
            *("SPECIAL_EXIT", "STAGE_IN"),
        ),
        JobState.PENDING,
    ),
    **dict.fromkeys(("RUNNING", "RESIZING", "SUSPENDED", "STOPPED"), JobState.RUNNING),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT", "SIGNALING"), JobState.ENDING),
}
#: Other states are of jobs that have ended; `squeue` is not asked for them.


def state_of(job: QueuedJob) -> JobState | None:
    """Return where a job stands; None if it has ended."""
    return _STATES.get(job.state)


class SlurmJobs:
    """Reads `squeue` and `sinfo`. `ours` is one `squeue`, and now and then one for our places.

    Jobs of ours work in `folder`: one account may serve several sites, each with an agent.
    """

    def __init__(
        self,
        commands: Commands,
        clusters: str | None,
        *,
        folder: Path,
        clock: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._folder = str(folder)
        self._clusters = clusters
        self._clock = clock
        self._sees_all: bool | None = None
        self._ranks: dict[str, int] = {}
        self._ranked_at = 0.0
        self._ranked_for: frozenset[str] = frozenset()

    async def listed(self) -> list[QueuedJob]:
        """Return all jobs of our account, also such as have nothing to do with us."""
        return squeue.read(await self._commands.output(*squeue.arguments(self._clusters)))

    async def ours(self) -> tuple[Job, ...]:
        """Return the jobs that carry our comment, are of this site, and have not ended."""
        found = [
            (job, state, comment)
            for job in await self.listed()
            if job.folder == self._folder
            and (state := state_of(job)) is not None
            and (comment := JobComment.read(job.comment)) is not None
        ]
        waiting = [job.job_id for job, state, _ in found if state is JobState.PENDING]
        ranks = await self._places(waiting)
        return tuple(
            replace(
                _job(job, state, comment),
                left_s=None if state is JobState.PENDING else self._left_s(job),
                ahead=ranks.get(job.job_id),
            )
            for job, state, comment in found
        )

    async def capacity(self, partitions: Collection[str]) -> Capacity:
        """Return what there is in these partitions."""
        text = await self._commands.output(*sinfo.arguments(partitions, self._clusters))
        nodes = sinfo.read(text)
        return Capacity(
            gpus=sum(node.gpus for node in nodes if not node.down),
            free_gpus=sum(node.free_gpus for node in nodes),
            nodes=tuple(node.name for node in nodes),
            down=frozenset(node.name for node in nodes if node.down),
        )

    def _left_s(self, job: QueuedJob) -> float | None:
        return job.left_s if job.ends_at is None else max(0.0, job.ends_at - self._clock())

    async def _places(self, waiting: list[str]) -> dict[str, int]:
        """Return how many jobs are before each of these, as far as that can be seen."""
        age = self._clock() - self._ranked_at
        changed = self._ranked_for != frozenset(waiting)
        if waiting and age > (RANK_CHANGED_AFTER_S if changed else RANK_EVERY_S):
            self._ranked_at, self._ranked_for = self._clock(), frozenset(waiting)
            try:
                self._ranks = await self._ranked()
            except DriverFailed as error:
                # The jobs themselves are known: a place in the queue is not worth a tick.
                log.warning("queue_unknown error=%s", error)
                self._ranks = {}
        return {job_id: self._ranks[job_id] for job_id in waiting if job_id in self._ranks}

    async def _ranked(self) -> dict[str, int]:
        if self._sees_all is None:
            text = await self._commands.output(*scontrol_config.arguments(self._clusters))
            self._sees_all = scontrol_config.read_sees_all_jobs(text)
        if not self._sees_all:
            return {}
        text = await self._commands.output(*squeue.waiting_arguments(self._clusters))
        return _ranks(squeue.read_waiting(text))


def _ranks(waiting: Iterable[WaitingJob]) -> dict[str, int]:
    """Return for each job how many of its partition come first; of several partitions the best."""
    ranks: dict[str, int] = {}
    counts: dict[str, int] = {}
    for job in sorted(waiting, key=lambda one: one.rank):
        before = counts.get(job.partition, 0)
        counts[job.partition] = before + 1
        ranks[job.job_id] = min(before, ranks.get(job.job_id, before))
    return ranks


def _job(job: QueuedJob, state: JobState, comment: JobComment) -> Job:
    waits = state is JobState.PENDING
    return Job(
        job_id=job.job_id,
        instance=comment.instance,
        state=state,
        generation=comment.generation,
        fence=comment.fence,
        model=comment.model,
        purpose=comment.purpose,
        nodes=job.nodes,
        limit_s=job.limit_s,
        reason=job.reason if waits else "",
        starts_at=job.starts_at,
        submitted_at=job.submitted_at,
    )
