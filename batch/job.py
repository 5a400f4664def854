"""What one runner is to do, and the ends that a batch can come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from batch.concurrency import LONG, LONG_START, MOST, SHORT, START, Concurrency
from batch.folder import Folder
from batch.journal.record import Problem
from batch.outcome import Status
from batch.pending import Changes
from batch.rules import Rules


class _Ending(NamedTuple):
    status: Status
    problem: Problem | None


class End(Enum):
    """Why no more lines are begun, and what is said of those that never ran."""

    DONE = _Ending(Status.COMPLETED, None)
    CANCELLED = _Ending(
        Status.CANCELLED,
        Problem(
            code="batch_cancelled",
            message="This request was not executed because the batch was cancelled.",
        ),
    )
    EXPIRED = _Ending(
        Status.EXPIRED,
        Problem(
            code="batch_expired",
            message="This request could not be executed before the batch expired.",
        ),
    )
    #: Its lines are failed ones.
    GIVEN_UP = _Ending(
        Status.COMPLETED,
        Problem(code="batch_given_up", message="This request could not be executed."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one runner is to do. `epoch` None takes the next; `concurrency` None adapts.

    It has at most `most` requests under way, whatever `concurrency` says. Without an engine it
    looks the input through, or writes out what there is of a batch that ends, and leaves.
    """

    folder: Folder
    input: Path
    rules: Rules = field(default_factory=Rules)
    epoch: int | None = None
    load: Path | None = None
    changes: Changes = field(default_factory=Changes)
    concurrency: int | None = None
    most: int = MOST
    has_engine: bool = True
    drain_s: float = 30.0
    patience_s: float = 120.0

    def new_concurrency(self) -> Concurrency:
        """Return the limit of requests under way to begin with."""
        if self.concurrency is None:
            alone = self.load is None or self.changes.priority is not None
            start, queue = (LONG_START, LONG) if alone else (START, SHORT)
            return Concurrency(start=start, most=min(MOST, self.most), queue=queue)
        return Concurrency(start=self.concurrency, most=min(self.concurrency, self.most))
