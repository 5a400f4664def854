"""One batch as the gateway knows it: its status, how that may change, and what is left to do."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from compute_functions.contract.batches import BatchOrder, BatchReport, BatchUse, LineError
from resource_server.domain import errors

_ID = re.compile(r"batch_[0-9a-f]{32}")


class BatchStatus(StrEnum):
    """The status of a batch, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return not MOVES[self]


#: What may follow each status. Those that nothing follows are final.
MOVES: Mapping[BatchStatus, tuple[BatchStatus, ...]] = {
    BatchStatus.VALIDATING: (
        BatchStatus.IN_PROGRESS,
        BatchStatus.CANCELLING,
        BatchStatus.FAILED,
        BatchStatus.EXPIRED,
    ),
    BatchStatus.IN_PROGRESS: (
        BatchStatus.FINALIZING,
        BatchStatus.CANCELLING,
        BatchStatus.FAILED,
        BatchStatus.EXPIRED,
    ),
    BatchStatus.FINALIZING: (
        BatchStatus.COMPLETED,
        BatchStatus.CANCELLING,
        BatchStatus.FAILED,
        BatchStatus.EXPIRED,
    ),
    # What was done before the site heard of it is done.
    BatchStatus.CANCELLING: (
        BatchStatus.CANCELLED,
        BatchStatus.COMPLETED,
        BatchStatus.FAILED,
        BatchStatus.EXPIRED,
    ),
    BatchStatus.COMPLETED: (),
    BatchStatus.FAILED: (),
    BatchStatus.EXPIRED: (),
    BatchStatus.CANCELLED: (),
}
#: Those that count for the limit of active batches.
ACTIVE = frozenset(status for status in BatchStatus if not status.final)


class AlcfStatus(StrEnum):
    """The same in ALCF's four words (row C-52)."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


#: ALCF's word for each of OpenAI's; one in progress is still pending before the first answer.
ALCF_WORDS: Mapping[BatchStatus, AlcfStatus] = {
    BatchStatus.VALIDATING: AlcfStatus.PENDING,
    BatchStatus.IN_PROGRESS: AlcfStatus.RUNNING,
    BatchStatus.FINALIZING: AlcfStatus.RUNNING,
    BatchStatus.CANCELLING: AlcfStatus.RUNNING,
    BatchStatus.COMPLETED: AlcfStatus.COMPLETED,
    BatchStatus.FAILED: AlcfStatus.FAILED,
    BatchStatus.EXPIRED: AlcfStatus.FAILED,
    BatchStatus.CANCELLED: AlcfStatus.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """Which of a person's batches a list holds: of any of these statuses, and of this cluster.

    What is empty restricts nothing.
    """

    statuses: Collection[BatchStatus | AlcfStatus] = ()
    cluster: str | None = None


#: All of them.
EVERY_BATCH = BatchFilter()


class Stage(StrEnum):
    """What the controller has to do next for a batch, whatever its status is."""

    #: Its site may not know of it: hand in the order.
    UNTOLD = "untold"
    #: The site waits for the input: send it.
    SENDING = "sending"
    #: The site has all: ask how it is.
    THERE = "there"
    #: It is over there: fetch what it left.
    FETCHING = "fetching"
    #: It is over here: have the site forget it.
    FORGETTING = "forgetting"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch. Times are seconds since the epoch, `owner` is the account's id.

    `order` is what its site is told and never changes; its model is empty if the input names none,
    and then the batch has failed. `completion_window` is as it was asked for, as `24h`. With
    `fetches` what it leaves becomes files of the gateway, kept for `keep_s`, None for ever.
    `report` is what its site last said. `waits` is what keeps the controller from the next step.

    `version` grows with each change: who changes a batch names the one that was read.
    """

    order: BatchOrder
    owner: str
    cluster: str
    completion_window: str
    input_file_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    fetches: bool = True
    keep_s: float | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    stage: Stage = Stage.UNTOLD
    version: int = 0
    report: BatchReport | None = None
    waits: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    @property
    def id(self) -> str:
        """Its id, the same in OpenAI's and in ALCF's routes."""
        return self.order.batch

    @property
    def created_at(self) -> float:
        """When it was created."""
        return self.order.created_at

    @property
    def expires_at(self) -> float:
        """After which no line begins."""
        return self.order.expires_at

    @property
    def endpoint(self) -> str | None:
        """The path that its lines name, as far as anybody knows by now."""
        if self.order.endpoint is not None:
            return self.order.endpoint
        return self.report.endpoint if self.report else None

    @property
    def alcf_status(self) -> AlcfStatus:
        """Its status in ALCF's words."""
        if self.status is BatchStatus.IN_PROGRESS and not self.answered:
            return AlcfStatus.PENDING
        return ALCF_WORDS[self.status]

    @property
    def total(self) -> int:
        """How many lines it has; 0 until they were looked at."""
        return self.report.total if self.report else 0

    @property
    def completed(self) -> int:
        """How many lines were answered well."""
        return self.report.completed if self.report else 0

    @property
    def failed(self) -> int:
        """How many lines came out otherwise."""
        return self.report.failed if self.report else 0

    @property
    def answered(self) -> int:
        """How many lines are done."""
        return self.completed + self.failed

    @property
    def errors(self) -> tuple[LineError, ...]:
        """The first mistakes of its input."""
        return self.report.errors if self.report else ()

    @property
    def reason(self) -> str:
        """Why it failed, or for what it waits."""
        return self.waits or (self.report.reason if self.report else "")

    @property
    def use(self) -> BatchUse:
        """What its answers cost so far."""
        return self.report.use if self.report else BatchUse()

    def moved(self, to: BatchStatus, *, at: float) -> Batch:
        """Return the batch with another status, all that lie on the way passed through.

        Raises `ValueError` where no way leads.
        """
        way = way_to(self.status, to)
        if way is None:
            raise ValueError(f"a batch that is {self.status} does not become {to}")
        times: dict[str, float] = {f"{status.value}_at": at for status in way}
        return replace(self, status=to, **times)  # type: ignore[arg-type] # every status has its time

    def told_to_cancel(self, *, at: float) -> Batch:
        """Return the batch once somebody wants it cancelled; raises `BatchOver` if it is too late.

        Whoever cancels again changes nothing.
        """
        if self.status in (BatchStatus.CANCELLING, BatchStatus.CANCELLED):
            return self
        if self.status.final:
            raise errors.BatchOver(f"The batch is {self.status} already.")
        return self.moved(BatchStatus.CANCELLING, at=at)


def way_to(begin: BatchStatus, end: BatchStatus) -> tuple[BatchStatus, ...] | None:
    """Return the shortest way from one status to another, without the first; None if none leads.

    Over `cancelling` goes only what is cancelled.
    """
    closed = set() if end in _BY_CANCELLING else {BatchStatus.CANCELLING}
    ways: deque[tuple[BatchStatus, ...]] = deque([()])
    seen = {begin} | closed
    while ways:
        way = ways.popleft()
        here = way[-1] if way else begin
        if here is end:
            return way
        ways.extend((*way, there) for there in MOVES[here] if there not in seen)
        seen.update(MOVES[here])
    return None


_BY_CANCELLING = (BatchStatus.CANCELLING, BatchStatus.CANCELLED)


def new_batch_id() -> str:
    """Return an id that nobody can guess."""
    return f"batch_{secrets.token_hex(16)}"


def is_batch_id(text: str) -> bool:
    """Tell whether a text may be a batch's id."""
    return _ID.fullmatch(text) is not None


def no_such_batch() -> errors.BatchNotFound:
    """Return the error for a batch that is absent or another's: the two cases read alike."""
    return errors.BatchNotFound("There is no batch of this id, or it is not yours.")
