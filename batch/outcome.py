"""How a batch ended. With an outcome it is over, and nothing of it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from batch.line_error import LineError
from batch.metrics import Metrics
from batch.use import Use


class Status(StrEnum):
    """The ends of a batch. Lines that fail do not fail it; an input that cannot be run does."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """What a file holds: its length, the SHA-256 of its content (hex), its lines."""

    bytes: int
    sha256: str
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`outcome.json`.

    `completed` lines have a sound answer, `failed` ones another record; what is missing from
    `total` never ran. A file without lines is None. `errors` are the first mistakes of
    `error_count` in an input that was refused; `reason` says why in words. `resumed` counts the
    runners before the last one.
    """

    status: Status
    total: int = 0
    completed: int = 0
    failed: int = 0
    error_count: int = 0
    errors: tuple[LineError, ...] = ()
    reason: str = ""
    model: str | None = None
    endpoint: str | None = None
    use: Use = field(default_factory=Use)
    metrics: Metrics | None = None
    output: FileSum | None = None
    error_file: FileSum | None = None
    started_at: float
    ended_at: float
    working_s: float = 0.0
    epoch: int
    resumed: int = 0

    @property
    def never_began(self) -> bool:
        """Whether its input was refused at once, and is of no model: mended it may be run anew."""
        return self.status is Status.FAILED and self.model is None

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return {**asdict(self), "status": self.status.value}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_wire` wrote."""
        parts = {
            "status": Status(values["status"]),
            "errors": tuple(LineError(**error) for error in values["errors"]),
            "use": Use.from_wire(values["use"]),
            "metrics": values["metrics"] and Metrics(**values["metrics"]),
            "output": values["output"] and FileSum(**values["output"]),
            "error_file": values["error_file"] and FileSum(**values["error_file"]),
        }
        return cls(**{**values, **parts})
