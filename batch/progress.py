"""How far a batch is, as its runner tells it every second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from batch.metrics import Metrics
from batch.use import Use

#: The rate is that of so much of the past (seconds).
RATE_OVER_S = 30.0
#: A runner tells its progress every second. After this silence there seems to be none (seconds).
SILENT_S = 10.0


class Stage(StrEnum):
    """What the runner is at."""

    VALIDATING = "validating"
    RUNNING = "running"
    #: The engine does not answer, or is busy: `reason` says which.
    WAITING = "waiting"
    #: No line is begun any more; those under way are awaited.
    DRAINING = "draining"
    FINALIZING = "finalizing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`progress.json`. Lines count once they are recorded.

    `refusal` is how an engine that answers, and refuses everything, was given up by this runner.
    `rate` is in lines a second, `left_s` an estimate; None where nobody knows. `working_s` is for
    how long lines were worked on, by all runners together. `at` is when this was written (seconds
    since the epoch). `epoch` tells a reader which of two runners knows better: the higher one.
    """

    stage: Stage
    reason: str = ""
    total: int = 0
    recorded: int = 0
    completed: int = 0
    failed: int = 0
    under_way: int = 0
    limit: int = 0
    refusal: str = ""
    rate: float | None = None
    left_s: float | None = None
    use: Use = field(default_factory=Use)
    metrics: Metrics | None = None
    started_at: float
    at: float
    working_s: float = 0.0
    epoch: int
    resumed: int = 0

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return {**asdict(self), "stage": self.stage.value}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_wire` wrote."""
        parts = {
            "stage": Stage(values["stage"]),
            "use": Use.from_wire(values["use"]),
            "metrics": values["metrics"] and Metrics(**values["metrics"]),
        }
        return cls(**{**values, **parts})


class Rate:
    """Lines a second over the last while."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def saw(self, now: float, recorded: int) -> None:
        """Note how many lines are recorded at `now`."""
        self._seen.append((now, recorded))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_OVER_S:  # noqa: PLR2004 - two ends
            self._seen.popleft()

    @property
    def lines_per_s(self) -> float | None:
        """Return the rate; None before there is one."""
        if not self._seen:
            return None
        (since, first), (until, last) = self._seen[0], self._seen[-1]
        # A count that falls is of lines that are asked anew: none is undone.
        return max(0, last - first) / (until - since) if until > since else None

    def left_s(self, pending: int) -> float | None:
        """Return how long `pending` lines take at this rate; None if nobody knows."""
        rate = self.lines_per_s
        if pending == 0:
            return 0.0
        return pending / rate if rate else None
