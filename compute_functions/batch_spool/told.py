"""What runners leave in the batch folder, as the spool reads it: examined, progress, outcome.

A runner may be of another version than this program: fields that are not known are passed over,
and those that are missing are as if nothing had happened yet. Numbers are none that cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from batch import whole_file
from batch.use import Use
from compute_functions.batch_spool import sound_file
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract import ContractError
from compute_functions.contract.batches import (
    MOST_ERRORS,
    MOST_LINES,
    BatchState,
    BatchUse,
    FileSum,
    LineError,
)

_T = TypeVar("_T")
_MOST_NUMBER = 1e300
#: What `outcome.json` may say of a batch.
_ENDED = {state.value: state for state in BatchState if state.final}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What the first runner found in the input."""

    total: int
    endpoint: str | None

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return what is in `batch.json`; None before."""
        values = whole_file.read_object(folder.work / "batch.json")
        if values is None:
            return None
        return cls(total=_lines(values, "total"), endpoint=_text(values, "endpoint"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a runner is. Times are seconds since the epoch, durations seconds.

    `refusal` is why the runner of `epoch` gave up an engine that refused everything.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0
    use: BatchUse = field(default_factory=BatchUse)
    stage: str = ""
    reason: str = ""
    started_at: float | None = None
    working_s: float = 0.0
    lines_per_s: float | None = None
    left_s: float | None = None
    resumed: int = 0
    refusal: str = ""
    epoch: int = 0

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return what is in `progress.json`; None before the first runner wrote it."""
        values = whole_file.read_object(folder.progress)
        return None if values is None else cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return what an object says."""
        return cls(
            total=_lines(values, "total"),
            completed=_lines(values, "completed"),
            failed=_lines(values, "failed"),
            use=_use(values),
            stage=_text(values, "stage") or "",
            reason=_text(values, "reason") or "",
            started_at=_number(values, "started_at"),
            working_s=max(_number(values, "working_s") or 0.0, 0.0),
            lines_per_s=_number(values, "rate"),
            left_s=_number(values, "left_s"),
            resumed=_lines(values, "resumed"),
            refusal=_text(values, "refusal") or "",
            epoch=int(_number(values, "epoch") or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a batch. `output` and `error_file` are None where there are no such lines."""

    state: BatchState
    ended_at: float
    reason: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    error_count: int = 0
    errors: tuple[LineError, ...] = ()
    use: BatchUse = field(default_factory=BatchUse)
    endpoint: str | None = None
    output: FileSum | None = None
    error_file: FileSum | None = None
    started_at: float | None = None
    working_s: float = 0.0
    resumed: int = 0

    @property
    def lines_per_s(self) -> float | None:
        """How fast its lines were, all runners together."""
        return (self.completed + self.failed) / self.working_s if self.working_s else None

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return what is in `outcome.json`; None while the batch is not over.

        One that is damaged is set aside: the next runner replays the journal, and writes it anew.
        """
        return sound_file.read(folder.outcome, cls._sound)

    @classmethod
    def _sound(cls, values: Mapping[str, Any]) -> Self:
        """Return what an object says; `TypeError` or `ValueError` if nobody can have meant it."""
        said = values.get("status")
        if not isinstance(said, str):
            raise TypeError("status is no text")
        if said in _ENDED:
            _require_types(values)
        return cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return what an object says. A word that is not known is a failure, told as such."""
        said = values.get("status")
        state = _ENDED.get(said) if isinstance(said, str) else None
        progress = Progress.of(values)
        return cls(
            state=state or BatchState.FAILED,
            reason=_text(values, "reason") or ("" if state else "its outcome is not understood"),
            ended_at=_number(values, "ended_at") or 0.0,
            total=progress.total,
            completed=progress.completed,
            failed=progress.failed,
            error_count=_lines(values, "error_count"),
            errors=_errors(values),
            use=progress.use,
            endpoint=_text(values, "endpoint"),
            output=_or_none(FileSum.from_wire, values.get("output")),
            error_file=_or_none(FileSum.from_wire, values.get("error_file")),
            started_at=progress.started_at,
            working_s=progress.working_s,
            resumed=progress.resumed,
        )


def _require_types(values: Mapping[str, Any]) -> None:
    for name in ("total", "completed", "failed"):
        if name in values and (type(values[name]) is not int or values[name] < 0):
            raise TypeError(f"{name} is no number of lines")
    if "ended_at" in values and _number(values, "ended_at") is None:
        raise TypeError("ended_at is no time")
    for name in ("output", "error_file"):
        if values.get(name) is not None:
            FileSum.from_wire(values[name])


def _lines(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if type(value) is int and 0 <= value <= MOST_LINES else 0


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number of any length is JSON, too.
    return float(value) if -_MOST_NUMBER < value < _MOST_NUMBER else None


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _use(values: Mapping[str, Any]) -> BatchUse:
    return BatchUse(**Use.from_wire(values.get("use")).to_wire())


def _errors(values: Mapping[str, Any]) -> tuple[LineError, ...]:
    listed = values.get("errors")
    if not isinstance(listed, list):
        return ()
    found = (_or_none(LineError.from_wire, one) for one in listed[:MOST_ERRORS])
    return tuple(one for one in found if one is not None)


def _or_none(read: Callable[[object], _T], wire: object) -> _T | None:
    try:
        return None if wire is None else read(wire)
    except ContractError:
        return None
