"""The keeper driver: one long task in the endpoint's role `blocks` is one job and one instance.

For sites whose jobs must come from a standard Globus Compute endpoint. Compared with the provider
driver a cold start takes some seconds more, no node can be excluded, and the endpoint's process
must live as long as its jobs (docs/operators/slurm-site.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from compute_functions.contract import PROTOCOL_VERSION, JsonObject
from compute_functions.control import Control
from compute_functions.drivers.driver import Capacity, Job, JobState
from compute_functions.drivers.keeper_notes import KeeperNote, KeeperNotes
from compute_functions.drivers.provider import ProviderDriver
from compute_functions.drivers.slurm_jobs import state_of
from compute_functions.errors import ConfigurationError, DriverFailed, SubmissionRefused
from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.schedulers.slurm import times
from compute_functions.schedulers.slurm.squeue import QueuedJob
from compute_functions.site import SiteDirectory

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: What tells the id of a task, which has no job yet, from that of a job.
_TASK = "task:"
#: How often the service is asked whether tasks without a job have failed (seconds).
ASK_EVERY_S = 60.0
#: What happened between a task's beginning and its instance's first word (seconds).
SETTLE_S = 30.0
#: A shared disk that takes longer is away for now (seconds).
DISK_S = 20.0


class Tasks(Protocol):
    """Calls `keep_instance` at the endpoint. Both methods may raise `DriverFailed`."""

    async def submit(self, wire: JsonObject, options: Mapping[str, Any]) -> str:
        """Submit one task and return its id."""
        ...

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        """Return which of these tasks have ended."""
        ...


class KeeperDriver:
    """An `InstanceDriver` whose jobs are blocks of the endpoint.

    Slurm tells of the jobs, registrations which instance each one holds, and notes which tasks have
    no job yet. `slurm` asks Slurm; it submits nothing.
    """

    def __init__(
        self,
        site: SiteDirectory,
        slurm: ProviderDriver,
        tasks: Tasks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._slurm = slurm
        self._tasks = tasks
        self._clock = clock
        self._notes = KeeperNotes(site)
        self._asked_at = 0.0
        #: Instances whose jobs the last list did not have.
        self._missed: set[str] = set()

    async def submit(self, order: Order, *, exclude: Collection[str] = ()) -> str:
        """Submit an instance's task and return its id; no node can be excluded."""
        note = KeeperNote.of(order, now=self._clock())
        await _on_disk(partial(self._notes.write, note))
        try:
            task_id = await self._tasks.submit(
                {"v": PROTOCOL_VERSION, "instance": order.instance}, _options(order)
            )
        except SubmissionRefused:
            await _on_disk(partial(self._notes.remove, order.instance))
            raise
        note = KeeperNote.of(order, now=note.submitted_at, task_id=task_id)
        await _on_disk(partial(self._notes.write, note))
        return _TASK + task_id

    async def jobs(self) -> tuple[Job, ...]:
        """Return the instances whose tasks or jobs have not ended."""
        notes = await _on_disk(lambda: list(self._notes.all()))
        ended = await self._ended(notes)
        named = await _on_disk(lambda: {note.instance: self._job_id(note) for note in notes})
        # Slurm last: a job that an instance names stands in its queue by now, or has ended.
        listed = {job.job_id: job for job in await self._slurm.listed()}
        found = await _on_disk(
            lambda: [
                self._held(note, listed.get(job_id)) if job_id else self._without_job(note, ended)
                for note in notes
                for job_id in (named[note.instance],)
            ]
        )
        return tuple(job for job in found if job is not None)

    async def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs. A task that waits for a block ends when it gets one, and is forgotten now."""
        for note in await _on_disk(lambda: list(self._notes.all())):
            if _TASK + note.task_id in job_ids:
                told = Control(drain=True, until=self._clock())
                await _on_disk(partial(told.write, self._site, note.instance))
        await self._slurm.cancel([job for job in job_ids if not job.startswith(_TASK)])

    async def starts_in(self, order: Order) -> float | None:
        """Return in how many seconds such a job would start; None if nobody can say."""
        return await self._slurm.starts_in(order)

    async def capacity(self) -> Capacity:
        """Return what there is in the site's partitions."""
        return await self._slurm.capacity()

    async def _ended(self, notes: Collection[KeeperNote]) -> set[str]:
        """Ask the service, now and then, which of the tasks have ended."""
        if self._clock() - self._asked_at < ASK_EVERY_S:
            return set()
        self._asked_at = self._clock()
        try:
            return await self._tasks.ended([note.task_id for note in notes if note.task_id])
        except DriverFailed as error:
            # What runs is known without it.
            log.warning("tasks_unknown error=%s", error)
            return set()

    def _held(self, note: KeeperNote, row: QueuedJob | None) -> Job | None:
        """Return an instance's job as it is now; one that has ended is forgotten."""
        state = state_of(row) if row else None
        if row is None and note.instance not in self._missed:
            # A list may miss a job, as after a restart of the scheduler: the next one will tell.
            self._missed.add(note.instance)
            return None
        self._missed.discard(note.instance)
        if row is None or state is None:
            self._notes.remove(note.instance)
            return None
        return Job(
            job_id=row.job_id,
            instance=note.instance,
            state=state,
            generation=note.generation,
            fence=note.fence,
            model=note.model,
            purpose=note.purpose,
            nodes=row.nodes,
            left_s=None if row.ends_at is None else max(0.0, row.ends_at - self._clock()),
            limit_s=row.limit_s,
            starts_at=row.starts_at,
            submitted_at=note.submitted_at,
        )

    def _without_job(self, note: KeeperNote, ended: Collection[str]) -> Job | None:
        """Return an instance that waits for a block, unless its task failed or was cancelled."""
        lost = not note.task_id and self._clock() - note.submitted_at > SETTLE_S
        if note.task_id in ended or lost or self._is_cancelled(note):
            self._notes.remove(note.instance)
            return None
        return Job(
            job_id=_TASK + note.task_id,
            instance=note.instance,
            state=JobState.PENDING,
            generation=note.generation,
            fence=note.fence,
            model=note.model,
            purpose=note.purpose,
            limit_s=note.walltime_s,
            reason="waits for a block",
            submitted_at=note.submitted_at,
        )

    def _is_cancelled(self, note: KeeperNote) -> bool:
        try:
            told = Control.read(self._site, note.instance)
        except ConfigurationError as error:
            log.warning("control_unreadable error=%s", error)
            return False
        return told is not None and told.drain

    def _job_id(self, note: KeeperNote) -> str | None:
        """Return in which job an instance says that it runs."""
        path = self._site.registration(note.instance)
        try:
            return Registration.read(path).job_id
        except FileNotFoundError:
            return None
        except (ConfigurationError, OSError) as error:
            log.warning("registration_unreadable path=%s error=%s", path, error)
            return None


def _options(order: Order) -> dict[str, Any]:
    return {
        "role": "blocks",
        "gpus": order.gpus,
        "walltime_minutes": times.minutes(order.walltime_s),
        "hot": order.hot,
    }


async def _on_disk(work: Callable[[], _T]) -> _T:
    """Read or write files of the site in a thread."""
    try:
        async with asyncio.timeout(DISK_S):
            return await asyncio.to_thread(work)
    except OSError as error:  # `TimeoutError` is one.
        raise DriverFailed(f"the notes of keepers: {error.strerror or 'no answer'}") from error
