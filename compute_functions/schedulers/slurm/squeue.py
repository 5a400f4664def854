"""`squeue`: which jobs of ours there are, and who else waits."""

from __future__ import annotations

from dataclasses import dataclass

from compute_functions.errors import DriverFailed
from compute_functions.schedulers.slurm import node_list, times

#: Whatever may still hold a node or get one. Jobs that have ended are kept by Slurm for minutes.
STATES = "PD,CF,R,CG,S,ST,RQ,RH,SE,SO,SI"
#: The comment comes last: it is the only field that may hold anything.
_FORMAT = "%i|%T|%P|%N|%L|%e|%l|%r|%S|%V|%Z|%k"
_FIELDS = _FORMAT.count("|")
_WAITING_FORMAT = "%i|%P|%Q"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """One line: a job as Slurm sees it, with Slurm's words for its state and reason.

    It works in `folder`.

    `ends_at` is what counts: `left_s` follows the job's limit, and not an end that was moved.
    """

    job_id: str
    state: str
    partition: str
    nodes: tuple[str, ...]
    left_s: float | None
    ends_at: float | None
    limit_s: float | None
    reason: str
    starts_at: float | None
    submitted_at: float | None
    folder: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """One waiting job of anybody."""

    job_id: str
    partition: str
    priority: int

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts jobs as Slurm takes them: by priority, then by age."""
        return -self.priority, int(self.job_id.partition("_")[0])


def arguments(clusters: str | None = None) -> list[str]:
    """Return the command that lists our own jobs."""
    return [*_base(clusters), "--me", f"--states={STATES}", f"--format={_FORMAT}"]


def read(text: str) -> list[QueuedJob]:
    """Return the jobs; a line that is none is part of somebody's comment, and passed over."""
    return [job for line in text.splitlines() if (job := _job(line)) is not None]


def waiting_arguments(clusters: str | None = None) -> list[str]:
    """Return the command that lists all jobs that wait, as far as we may see them."""
    return [*_base(clusters), "--states=PD", f"--format={_WAITING_FORMAT}"]


def read_waiting(text: str) -> list[WaitingJob]:
    """Return the jobs that wait; a job for several partitions waits in each."""
    found = []
    for line in text.splitlines():
        match line.split("|"):
            case [job_id, partitions, priority] if _is_id(job_id) and priority.isdecimal():
                found += [
                    WaitingJob(job_id=job_id, partition=name, priority=int(priority))
                    for name in partitions.split(",")
                ]
    return found


def _base(clusters: str | None) -> list[str]:
    return ["squeue", "--noheader", *([f"--clusters={clusters}"] if clusters else [])]


def _job(line: str) -> QueuedJob | None:
    fields = line.split("|", _FIELDS)
    if len(fields) <= _FIELDS or not _is_id(fields[0]):
        return None
    try:
        nodes = node_list.expand(fields[3])
    except DriverFailed:
        return None
    return QueuedJob(
        job_id=fields[0],
        state=fields[1],
        partition=fields[2],
        nodes=nodes,
        left_s=times.duration(fields[4]),
        ends_at=times.moment(fields[5]),
        limit_s=times.duration(fields[6]),
        reason=fields[7] if fields[7] != "None" else "",
        starts_at=times.moment(fields[8]),
        submitted_at=times.moment(fields[9]),
        folder=fields[10],
        comment=fields[11],
    )


def _is_id(text: str) -> bool:
    """Whether it is a job's number, with an array's element perhaps."""
    return text.partition("_")[0].isdecimal()
