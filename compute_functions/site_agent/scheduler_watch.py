"""What the scheduler says of our jobs, asked for beside the agent's looks: it may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from compute_functions.drivers import Capacity, InstanceDriver, Job, JobState
from compute_functions.errors import DriverFailed
from compute_functions.site_agent.troubles import Troubles

#: What the site has in all changes slowly (seconds).
CAPACITY_S = 10.0
#: A look waits so long for the scheduler; then it goes on without deciding anything (seconds).
PATIENCE_S = 1.0
#: A scheduler that is silent for so long is trouble (seconds).
SILENT_S = 5.0

#: Of two jobs of one instance the one that is further counts.
_RANK = {JobState.ENDING: 0, JobState.PENDING: 1, JobState.RUNNING: 2}


class SchedulerWatch:
    """Keeps the last list of jobs, and knows whether anything may be decided on it."""

    def __init__(
        self,
        driver: InstanceDriver,
        troubles: Troubles,
        *,
        poll_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._troubles = troubles
        self._poll_s = poll_s
        self._clock = clock
        self._jobs: Mapping[str, Job] = {}
        self._capacity: Capacity | None = None
        self._listings = 0
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._ask_at = clock()
        self._size_at = clock()
        self._failed = True

    @property
    def jobs(self) -> Mapping[str, Job]:
        """Our jobs as they were listed last, by their instances."""
        return self._jobs

    @property
    def capacity(self) -> Capacity | None:
        """What the site has; None while nobody knows."""
        return self._capacity

    @property
    def listings(self) -> int:
        """How many lists there have been."""
        return self._listings

    @property
    def is_current(self) -> bool:
        """Whether the last question was answered: else what is decided on old jobs may be wrong."""
        return self._asking is None and not self._failed and self._ask_at > self._clock()

    async def look(self) -> None:
        """Ask if it is time to, and wait a little for the answer."""
        now = self._clock()
        if self._asking is None and now >= self._ask_at:
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask(), name="scheduler")
        if self._asking is None:
            return
        await asyncio.wait({self._asking}, timeout=PATIENCE_S)
        if self._asking.done():
            asked, self._asking = self._asking, None
            asked.result()
        elif self._clock() - self._asked_at >= SILENT_S:
            self._troubles.note("scheduler", "the scheduler has not answered for a while")

    def ask_anew(self) -> None:
        """Ask at the next look: something was done, or seems to have changed."""
        self._ask_at = self._size_at = self._clock()

    async def close(self) -> None:
        """Give up the question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        # Also after a failure: a scheduler in trouble is not helped by more questions.
        self._ask_at = self._clock() + self._poll_s
        self._failed = True
        try:
            jobs = await self._driver.jobs()
        except DriverFailed as error:
            self._troubles.note("scheduler", str(error))
            return
        self._jobs, twice = _by_instance(jobs)
        self._troubles.note("jobs", f"several jobs are of one instance: {twice}" if twice else "")
        self._listings += 1
        await self._ask_size()
        self._troubles.note("scheduler", "")
        self._ask_at = self._clock() + self._poll_s
        self._failed = False

    async def _ask_size(self) -> None:
        if self._clock() < self._size_at:
            return
        try:
            self._capacity = await self._driver.capacity()
            self._troubles.note("capacity", "")
        except DriverFailed as error:
            # Our jobs are known: the reconciler can do without the rest.
            self._capacity = None
            self._troubles.note("capacity", str(error))
        self._size_at = self._clock() + CAPACITY_S


def _by_instance(jobs: Iterable[Job]) -> tuple[dict[str, Job], str]:
    """Return one job of each instance, and the others' ids: an operator may have copied a job."""
    found: dict[str, Job] = {}
    others = []
    for job in sorted(jobs, key=lambda one: (_RANK[one.state], one.job_id)):
        if job.instance in found:
            others.append(found[job.instance].job_id)
        found[job.instance] = job
    return found, ", ".join(others)
