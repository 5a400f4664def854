"""Joins what is known of each instance of ours: job, order, registration, and what it was told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from compute_functions.drivers import Job, JobState
from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.reconciler.member import Draining, Member, Registered
from compute_functions.site_agent.silence import Silence

#: An order whose job the scheduler does not show may have one that it will show: so long after it
#: was first seen (seconds). Longer than a driver takes to submit.
UNSURE_S = 45.0
#: An order that is so old by the clock of its agent's host is surely not being submitted (seconds).
_OLD_S = 600.0
#: An instance that was heard within so many of its heartbeats lives, whatever the scheduler says.
_HEARD_WITHIN = 2.0
#: What is left of a job is told in whole seconds, and a while later: an end that moves by less has
#: not moved (seconds).
_STEADY_S = 5.0
#: A job that left no word is gone when so many lists in a row did not have it.
_MISSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything about the site's instances at one moment, each by the instance's name.

    `listing` is the number of the scheduler's list that the jobs are from.
    """

    listing: int = 0
    jobs: Mapping[str, Job] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    told: Mapping[str, Draining] = field(default_factory=dict)


class Look:
    """Makes members.

    It remembers what no file says: since when a job runs, how long an instance has been silent,
    which jobs were there and when an order was first seen.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        unsure_s: float = UNSURE_S,
    ) -> None:
        self._now = now
        self._clock = clock
        self._unsure_s = unsure_s
        self._silence = Silence(clock)
        self._running_since: dict[str, float] = {}
        #: When each job ends, and the list that was reckoned from.
        self._ends: dict[str, tuple[float, int]] = {}
        #: Of each instance with an order: its job and the list that had it last.
        self._listed: dict[str, tuple[Job, int]] = {}
        self._ordered_at: dict[str, float] = {}

    def members(self, site: Site, *, submitted: Iterable[str]) -> tuple[Member, ...]:
        """Return our instances.

        One whose heart beats is there, also when a list does not have its job. Of those in
        `submitted` it is known that the scheduler took them: one of these that has no job any more
        has ended. Another order without a job counts as pending for a while.
        """
        now = self._now()
        self._silence.forget_all_but(site.registrations)
        self._note_orders(site)
        unlisted = [order for name, order in site.orders.items() if name not in site.jobs]
        unseen = {order.instance: self._unseen(order, site) for order in unlisted}
        jobs = {**site.jobs, **{name: job for name, job in unseen.items() if job is not None}}
        self._note_running(jobs, now)
        self._note_ends(jobs, site.listing, now)
        known = {*submitted, *self._listed}
        return (
            *(self._member(job, site, now) for job in jobs.values()),
            *(
                _pending(order)
                for order in unlisted
                if order.instance not in jobs and self._is_unsure(order, site, known)
            ),
        )

    def shift(self, seconds: float) -> None:
        """Reckon with a clock that was set forward by so many seconds."""
        self._running_since = {name: at + seconds for name, at in self._running_since.items()}
        self._ends = {name: (at + seconds, seen) for name, (at, seen) in self._ends.items()}

    def _note_orders(self, site: Site) -> None:
        kept = {name: seen for name, seen in self._listed.items() if name in site.orders}
        fresh = {name: (job, site.listing) for name, job in site.jobs.items()}
        self._listed = kept | {name: seen for name, seen in fresh.items() if name in site.orders}
        now = self._clock()
        self._ordered_at = {name: self._ordered_at.get(name, now) for name in site.orders}

    def _unseen(self, order: Order, site: Site) -> Job | None:
        """Return the job of an instance that is there although it is not listed; None if it is not.

        A list may miss one, as after a restart of the scheduler: the instance is not to be replaced
        for that.
        """
        registration = site.registrations.get(order.instance)
        if registration is not None:
            return _of_registration(registration, order) if self._lives(registration) else None
        job, listing = self._listed.get(order.instance, (None, 0))
        if job is None or job.state is JobState.ENDING:
            return None
        return job if site.listing - listing < _MISSED else None

    def _lives(self, registration: Registration) -> bool:
        silent_s = self._silence.of(registration.name, registration.heartbeat)
        return registration.attended and silent_s <= _HEARD_WITHIN * registration.heartbeat_s

    def _is_unsure(self, order: Order, site: Site, known: Collection[str]) -> bool:
        """Tell whether a job of this order may yet appear."""
        name = order.instance
        if name in known or name in site.registrations:
            return False
        is_old = abs(self._now() - order.submitted_at) > _OLD_S
        return not is_old and self._clock() - self._ordered_at[name] < self._unsure_s

    def _note_running(self, jobs: Mapping[str, Job], now: float) -> None:
        self._running_since = {
            name: self._running_since.get(name, now)
            for name, job in jobs.items()
            if job.state is not JobState.PENDING
        }

    def _note_ends(self, jobs: Mapping[str, Job], listing: int, now: float) -> None:
        self._ends = {
            name: self._end(name, now + job.left_s, listing)
            for name, job in jobs.items()
            if job.left_s is not None
        }

    def _end(self, name: str, found: float, listing: int) -> tuple[float, int]:
        """Return when a job ends, by the first look at the list that says how much is left."""
        before, seen = self._ends.get(name, (found, 0))
        if seen == listing:
            return before, seen
        steady = abs(found - before) <= _STEADY_S
        return (min(before, found) if steady else found), listing

    def _member(self, job: Job, site: Site, now: float) -> Member:
        order = site.orders.get(job.instance)
        registration = site.registrations.get(job.instance)
        return Member(
            instance=job.instance,
            model=order.model if order else job.model,
            framework=order.framework if order else "",
            purpose=order.purpose if order else job.purpose,
            state=job.state,
            job_id=job.job_id,
            fence=job.fence,
            generation=job.generation,
            gpus=order.gpus if order else None,
            walltime_s=job.limit_s if job.limit_s is not None or not order else order.walltime_s,
            submitted_at=_submitted_at(job, order, now),
            started_at=self._started_at(job, registration),
            ends_at=self._ends_at(job, registration),
            nodes=job.nodes,
            registered=self._registered(registration) if registration else None,
            draining=site.told.get(job.instance),
        )

    def _started_at(self, job: Job, registration: Registration | None) -> float | None:
        if job.state is JobState.PENDING:
            return None
        seen = self._running_since[job.instance]
        return min(seen, registration.started_at) if registration else seen

    def _ends_at(self, job: Job, registration: Registration | None) -> float | None:
        if job.state is JobState.PENDING:
            return None
        if job.instance in self._ends:
            return self._ends[job.instance][0]
        return registration.ends_at if registration else None

    def _registered(self, registration: Registration) -> Registered:
        waiting = registration.waiting
        return Registered(
            state=registration.state,
            silent_s=self._silence.of(registration.name, registration.heartbeat),
            ready_at=registration.ready_at,
            in_flight=registration.in_flight,
            engine_waiting=None if waiting is None else int(waiting),
            detail=registration.detail,
        )


def _of_registration(registration: Registration, order: Order) -> Job:
    return Job(
        job_id=registration.job_id,
        instance=order.instance,
        state=JobState.RUNNING,
        generation=order.generation,
        fence=order.fence,
        model=order.model,
        purpose=order.purpose,
        nodes=(registration.node or registration.host,),
        limit_s=registration.walltime_s,
        submitted_at=registration.submitted_at,
    )


def _pending(order: Order) -> Member:
    return Member(
        instance=order.instance,
        model=order.model,
        framework=order.framework,
        purpose=order.purpose,
        state=JobState.PENDING,
        fence=order.fence,
        generation=order.generation,
        gpus=order.gpus,
        walltime_s=order.walltime_s,
        submitted_at=order.submitted_at,
    )


def _submitted_at(job: Job, order: Order | None, now: float) -> float:
    if job.submitted_at is not None:
        return job.submitted_at
    return order.submitted_at if order else now
