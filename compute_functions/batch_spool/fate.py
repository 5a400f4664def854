"""Whether a batch ever began: decided once, by whoever comes first.

A batch that nobody began may be ended by a word: it was cancelled, or its input is refused. One
that began is ended by its runner. Both come from different processes, and only one of them holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from batch import whole_file
from compute_functions.batch_spool import flat_file, sound_file
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import MOST_REASON, BatchState, LineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """That a batch began (`ended` is None), or how it ended without beginning.

    `total` is how many lines were counted, `endpoint` that of the first; `errors` are the first
    mistakes of `error_count`; `at` is seconds since the epoch.
    """

    at: float
    ended: BatchState | None = None
    reason: str = ""
    endpoint: str | None = None
    total: int = 0
    error_count: int = 0
    errors: tuple[LineError, ...] = ()

    def decide(self, folder: BatchFolder) -> bool:
        """Make this the batch's fate unless it has one; says whether it is its fate now."""
        values = {
            "at": self.at,
            "ended": None if self.ended is None else self.ended.value,
            "reason": self.reason[:MOST_REASON],
            "endpoint": self.endpoint,
            "total": self.total,
            "error_count": self.error_count,
            "errors": [error.to_wire() for error in self.errors],
        }
        return whole_file.create(folder.fate, whole_file.packed(values))

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return a batch's fate; None if it is open.

        One that is damaged is set aside and so open again: a runner finds what is wrong with the
        input once more, or that the batch was cancelled, or too late.
        """
        return sound_file.read(folder.fate, cls._of)

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        ended = None if values["ended"] is None else BatchState(values["ended"])
        if ended is not None and not ended.final:
            raise ValueError("it ended in a state that is no end")
        plain = {name: value for name, value in values.items() if name not in {"ended", "errors"}}
        errors = tuple(LineError.from_wire(error) for error in values["errors"])
        return replace(flat_file.parse(cls, plain), ended=ended, errors=errors)


def begin(folder: BatchFolder, *, now: float) -> bool:
    """Say that a runner is about to be started; False if the batch has ended instead.

    To be called before the first assignment; calling it again is the same.
    """
    if Fate(at=now).decide(folder):
        return True
    fate = Fate.read(folder)
    return fate is not None and fate.ended is None
