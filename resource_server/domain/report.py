"""What is taken of a site's report: it is trusted with its models, not with what callers see.

Words become one short line, and numbers and times that cannot be are as if nobody knew them.
"""

from __future__ import annotations

from dataclasses import replace

from compute_functions.contract import (
    FOR_BATCHES,
    AgentReport,
    Instance,
    InstanceState,
    ModelOutlook,
    SiteStatus,
)
from resource_server.domain.lifecycle import Observation

#: So much of a site's own words is shown (characters).
SHOWN = 300
#: No job's times are farther away than this, and no wait is longer (seconds).
FARTHEST_S = 366 * 86_400.0
_WHOLE_PERCENT = 100.0
#: A report may be so old when it comes (seconds). A clock that is more behind was set back.
LATE_S = 60.0
#: What is not worth a word: times that callers see are to stand still (seconds).
_MOVED_S = 0.5


def observed(status: SiteStatus, *, now: float) -> Observation:
    """Return what a site says that can be, as observed `now` (seconds since the epoch).

    An instance with any purpose is not for callers. What the site says of when such come, it says
    of the batches that wait for them.
    """
    at = status.observed_at
    found = [_instance(one, at=at) for one in status.instances]
    return Observation(
        observed_at=now,
        instances=tuple(one for one in found if not one.purpose),
        for_batches=tuple(one for one in found if one.purpose == FOR_BATCHES),
        outlooks=tuple(_outlook(one) for one in status.outlooks if not one.purpose),
        agent=_agent(status.agent) if status.agent else None,
        ahead_s=at - now,
    )


def steadied(ahead_s: float, before: Observation | None) -> float:
    """Return how far a site's clock is ahead, by a report that may come late.

    The report that came fastest tells it best: a later one seems to be of a clock that is behind.
    """
    if before is None:
        return ahead_s
    known = before.ahead_s
    return known if known - LATE_S < ahead_s <= known + _MOVED_S else ahead_s


def failed(observation: Observation) -> frozenset[str]:
    """Return the instances that a site was to have, and has no more.

    Those that somebody started by hand are left out: another may have the same name.
    """
    return frozenset(
        one.name
        for one in observation.instances
        if one.state is InstanceState.FAILED and one.submitted_at is not None
    )


def _instance(one: Instance, *, at: float) -> Instance:
    started_at = _time(one.started_at, at=at)
    return replace(
        one,
        job_id=_words(one.job_id),
        host=_words(one.host),
        name=_words(one.name),
        detail=_words(one.detail),
        reason=_words(one.reason),
        started_at=at if started_at is None else started_at,
        submitted_at=_time(one.submitted_at, at=at),
        ready_at=_time(one.ready_at, at=at),
        ends_at=_time(one.ends_at, at=at),
        walltime_s=_amount(one.walltime_s),
        running=_amount(one.running),
        waiting=_amount(one.waiting),
        gpu_percent=_amount(one.gpu_percent, most=_WHOLE_PERCENT),
    )


def _outlook(one: ModelOutlook) -> ModelOutlook:
    return replace(
        one,
        queue_s=_amount(one.queue_s),
        load_s=_amount(one.load_s),
        refused=_words(one.refused),
        waits=_words(one.waits),
    )


def _agent(one: AgentReport) -> AgentReport:
    # What troubles it is for the log, which shows more of it.
    return replace(
        one, host=_words(one.host), version=_words(one.version), trouble=_line(one.trouble)
    )


def _words(said: str) -> str:
    return _line(said[:SHOWN])


def _line(said: str) -> str:
    """Return a text without what moves a terminal's cursor, or ends a line."""
    if said.isprintable():
        return said
    return "".join(one if one.isprintable() else " " for one in said)


def _time(said: float | None, *, at: float) -> float | None:
    """Return a time by the site's clock if it is near the present one there."""
    return said if said is not None and abs(said - at) <= FARTHEST_S else None


def _amount(said: float | None, *, most: float = FARTHEST_S) -> float | None:
    return said if said is not None and 0 <= said <= most else None
