"""What an instance works on, in its own words: its runners, and how those ended that are over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from batch import whole_file
from compute_functions.batch_spool.folders import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One runner. `status` is its exit status, below 0 for a signal; None while it runs."""

    batch: str
    epoch: int
    pid: int
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Working:
    """The runners of one instance, the latest of each batch. An empty one takes batches."""

    runs: tuple[Run, ...] = ()

    @staticmethod
    def file(spool: Spool, instance: str) -> Path:
        """Return where an instance says so."""
        return spool.working_folder / f"{instance}.json"

    def write(self, spool: Spool, instance: str) -> None:
        """Say so."""
        values = {"runs": [asdict(run) for run in self.runs]}
        whole_file.replace(self.file(spool, instance), whole_file.packed(values))

    @classmethod
    def read(cls, spool: Spool, instance: str) -> Self | None:
        """Return what an instance says; None for one that takes no batches, or says nothing yet."""
        values = whole_file.read_object(cls.file(spool, instance))
        if values is None:
            return None
        listed = values.get("runs")
        return cls(tuple(_runs(listed if isinstance(listed, list) else ())))


def _runs(listed: Iterable[object]) -> Iterable[Run]:
    for one in listed:
        match one:
            case {
                "batch": str(batch),
                "epoch": int(epoch),
                "pid": int(pid),
                "status": int() | None as status,
            }:
                yield Run(batch=batch, epoch=epoch, pid=pid, status=status)
