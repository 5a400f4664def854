"""One batch as its gateway tells it, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from batch.client.errors import NotAsTold

COMPLETED, FAILED, EXPIRED, CANCELLED = "completed", "failed", "expired", "cancelled"
_FINAL = frozenset({COMPLETED, FAILED, EXPIRED, CANCELLED})
#: Under this key of `metadata` a batch names the one whose lines it goes on with.
RESUMED_FROM = "resumed_from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in an input file; `line` counts from 1, None for the file as a whole."""

    code: str
    message: str
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """One batch. `wire` is all that the gateway said of it.

    `reason` says why it failed, or for what it waits.
    `lines_per_s` and `left_s` are the site's estimates, None where it has none.
    """

    id: str
    status: str
    total: int = 0
    completed: int = 0
    failed: int = 0
    reason: str = ""
    lines_per_s: float | None = None
    left_s: float | None = None
    problems: tuple[Problem, ...] = ()
    model: str = ""
    endpoint: str = ""
    window: str = ""
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    results_path: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float | None = None
    wire: Mapping[str, Any]

    @property
    def over(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in _FINAL

    @property
    def done(self) -> int:
        """How many lines have a record."""
        return self.completed + self.failed

    @property
    def answers_elsewhere(self) -> str:
        """Where the answers are that the gateway does not have, in words; empty if it has all."""
        if not self.over or self.output_file_id is not None or not self.completed:
            return ""
        said = f": {self.reason}" if self.reason else ""
        if self.results_path and self.results_path not in said:
            said += f". They are at the cluster: {self.results_path}"
        return f"the gateway does not have the {self.completed:,} answers of {self.id}{said}"

    @property
    def resumed_from(self) -> str | None:
        """The batch whose lines this one goes on with."""
        return self.metadata.get(RESUMED_FROM) or None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read what a gateway says of a batch; fields that it leaves out are empty."""
        try:
            return cls(**_fields(wire))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotAsTold(f"what the gateway says of the batch is none: {error}") from error


def _fields(wire: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_counts(wire.get("request_counts") or {}),
        "id": str(wire["id"]),
        "status": str(wire["status"]),
        "reason": _text(wire, "reason"),
        "lines_per_s": _number(wire.get("lines_per_second")),
        "left_s": _number(wire.get("estimated_seconds_left")),
        "problems": tuple(map(_problem, (wire.get("errors") or {}).get("data") or ())),
        "model": _text(wire, "model"),
        "endpoint": _text(wire, "endpoint"),
        "window": _text(wire, "completion_window"),
        "input_file_id": wire.get("input_file_id"),
        "output_file_id": wire.get("output_file_id"),
        "error_file_id": wire.get("error_file_id"),
        "results_path": wire.get("results_file"),
        "metadata": dict(wire.get("metadata") or {}),
        "created_at": _number(wire.get("created_at")),
        "wire": dict(wire),
    }


def _counts(wire: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(wire.get(name) or 0) for name in ("total", "completed", "failed")}


def _problem(wire: Mapping[str, Any]) -> Problem:
    line = wire.get("line")
    return Problem(
        code=_text(wire, "code"),
        message=_text(wire, "message"),
        line=None if line is None else int(line),
    )


def _text(wire: Mapping[str, Any], name: str) -> str:
    return str(wire.get(name) or "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
