"""Where everything of a batch stands below the site's directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compute_functions.site import SiteDirectory


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """One batch's files, those of the batch folder `work` included."""

    path: Path

    @property
    def batch(self) -> str:
        """The batch's id."""
        return self.path.name

    @property
    def order(self) -> Path:
        """The order; it is there as long as the folder."""
        return self.path / "order.json"

    @property
    def fate(self) -> Path:
        """That it began, or how it ended without ever beginning."""
        return self.path / "fate.json"

    @property
    def place(self) -> Path:
        """Where its results are to be put."""
        return self.path / "place.json"

    @property
    def delivered(self) -> Path:
        """What came of putting them there."""
        return self.path / "delivered.json"

    @property
    def part(self) -> Path:
        """An upload that is not whole."""
        return self.path / "input.part"

    @property
    def cancelled(self) -> Path:
        """An empty file: somebody cancelled it."""
        return self.path / "cancelled"

    @property
    def state(self) -> Path:
        """What the agent says of it."""
        return self.path / "state.json"

    @property
    def log(self) -> Path:
        """What its runners print."""
        return self.path / "runner.log"

    @property
    def work(self) -> Path:
        """The batch folder, as the library knows it."""
        return self.path / "work"

    @property
    def input(self) -> Path:
        """The whole input."""
        return self.work / "input.jsonl"

    @property
    def control(self) -> Path:
        """What its runner is told."""
        return self.work / "control.json"

    @property
    def progress(self) -> Path:
        """How far its runner is."""
        return self.work / "progress.json"

    @property
    def outcome(self) -> Path:
        """What came of it."""
        return self.work / "outcome.json"

    @property
    def output(self) -> Path:
        """Its answers, once it is over."""
        return self.work / "output.jsonl"

    @property
    def error_lines(self) -> Path:
        """Its lines without a good answer, once it is over."""
        return self.work / "errors.jsonl"

    def highest_epoch(self) -> int:
        """Return the highest epoch that a runner took; 0 if none ever did."""
        try:
            names = [entry.name for entry in (self.work / "epochs").iterdir()]
        except FileNotFoundError:
            return 0
        return max((int(name) for name in names if name.isdecimal()), default=0)


@dataclass(frozen=True, slots=True)
class Spool:
    """All batches of a site."""

    root: Path

    @classmethod
    def of(cls, site: SiteDirectory) -> Spool:
        """Return a site's spool."""
        return cls(site.root / "batches")

    def prepare(self) -> None:
        """Make the folders, closed to everybody else."""
        words = (self.assigned_folder, self.working_folder)
        for folder in (self.root, self.forgotten_folder, *words):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def folder(self, batch: str) -> BatchFolder:
        """Return a batch's folder, whether it is there or not."""
        return BatchFolder(self.root / batch)

    def folders(self) -> Iterator[BatchFolder]:
        """Yield all batches; none if nobody ever submitted one."""
        try:
            names = sorted(entry.name for entry in self.root.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            if not name.startswith("."):
                yield self.folder(name)

    @property
    def forgotten_folder(self) -> Path:
        """Where tombstones stand."""
        return self.root / ".forgotten"

    @property
    def assigned_folder(self) -> Path:
        """What each instance is to work on, one file an instance: the agent's word."""
        return self.root / ".assigned"

    @property
    def working_folder(self) -> Path:
        """What each instance works on, one file an instance: its own word."""
        return self.root / ".working"

    def tombstone(self, batch: str) -> Path:
        """Return where it stands that a batch was forgotten."""
        return self.forgotten_folder / batch
