"""One line while it is asked: how its request is called, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batch import errors
from batch.answers import Body
from batch.journal.record import Answer, Problem
from batch.pending import Prepared
from batch.transports.transport import Reply, Request


@dataclass(slots=True)
class Bounds:
    """What the outside allows: a share of the engine while others need it, and a fixed most.

    `allowance` is how much of the share they have left over. At `looked_at` (monotonic) it was
    still this runner's turn.
    """

    share: float = 1.0
    interactive: int = 0
    allowance: float = 1.0
    most: int | None = None
    looked_at: float = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A line that is under way, since when, and how often it was tried before.

    `losses` is how often its engine was lost before, `single` that no other line was beside it.
    """

    line: Prepared
    began: float
    tries: int
    losses: int = 0
    single: bool = False

    def answer(
        self, event: Reply | errors.CallFailed, body: Body, problem: Problem | None
    ) -> Answer:
        """Return the record of what came of it."""
        return Answer(
            line=self.line.number,
            custom_id=self.line.custom_id,
            status=event.status if isinstance(event, Reply) else None,
            request_id=event.request_id if isinstance(event, Reply) else "",
            problem=problem,
            use=body.use,
            attempts=self.tries + self.losses + 1,
            body=body.raw,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How requests are called: a stable id of the line, and a tail that is new with each try."""

    path: str
    seed: str
    epoch: int

    def request(self, line: Prepared, tries: int, may_go: Callable[[], bool]) -> Request:
        """Return what to ask for a line that was asked so often in vain."""
        return Request(
            path=self.path,
            body=line.body,
            request_id=f"batch-{self.seed[:12]}-{line.number}-{self.epoch}.{tries}",
            may_go=may_go,
        )
