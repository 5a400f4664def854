"""The folder of one batch, which all its runners see: what is where, and what was validated."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from batch import whole_file
from batch.epochs import Epochs
from batch.errors import DiskFailed
from batch.outcome import Outcome
from batch.rules import Rules
from batch.validation import Validated

#: Of these a runner that was killed may leave a draft behind. Who oversees it writes others.
_WRITTEN_BY_RUNNERS = (
    "batch.json",
    "progress.json",
    "outcome.json",
    "output.jsonl",
    "errors.jsonl",
)

#: What JSON has no sets for.
_SETS = ("endpoints", "reserved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`batch.json`: which input this batch is of. Written once.

    The ids of output lines are made from `seed`, so that every runner gives a line the same one.
    """

    seed: str
    bytes: int
    sha256: str
    total: int
    model: str
    endpoint: str
    rules: Rules
    created_at: float

    @classmethod
    def of(cls, validated: Validated, rules: Rules) -> Self:
        """Return the manifest of an input without mistakes."""
        return cls(
            seed=secrets.token_hex(16),
            bytes=validated.bytes,
            sha256=validated.sha256,
            total=validated.total,
            model=validated.model or "",
            endpoint=validated.endpoint or "",
            rules=rules,
            created_at=round(time.time(), 3),
        )

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        rules = {name: getattr(self.rules, name) for name in Rules.__slots__}
        rules |= {name: sorted(rules[name]) for name in _SETS}
        return {**{name: getattr(self, name) for name in self.__slots__}, "rules": rules}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_wire` wrote."""
        try:
            rules = values["rules"]
            return cls(
                **{name: values[name] for name in cls.__slots__ if name != "rules"},
                rules=Rules(**rules | {name: frozenset(rules[name]) for name in _SETS}),
            )
        except (KeyError, TypeError) as error:
            raise DiskFailed(f"batch.json is damaged: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one batch."""

    path: Path

    @property
    def input(self) -> Path:
        """The input, if it is not elsewhere."""
        return self.path / "input.jsonl"

    @property
    def output(self) -> Path:
        """Answers in OpenAI's form."""
        return self.path / "output.jsonl"

    @property
    def errors(self) -> Path:
        """The lines that have no sound answer."""
        return self.path / "errors.jsonl"

    @property
    def journal(self) -> Path:
        """The journal's segments."""
        return self.path / "journal"

    @property
    def control(self) -> Path:
        """What runners are told."""
        return self.path / "control.json"

    @property
    def epochs(self) -> Epochs:
        """Whose turn it is."""
        return Epochs(self.path / "epochs")

    def make(self) -> None:
        """Make the folder, as far as it is not there."""
        for path in (self.path, self.journal, self.epochs.folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def manifest(self) -> Manifest | None:
        """Return what was validated, if it was."""
        values = whole_file.read_object(self._manifest)
        return None if values is None else Manifest.from_wire(values)

    def put_manifest(self, manifest: Manifest) -> Manifest:
        """Write down what was validated, and return what holds: who is first says it."""
        if whole_file.create(self._manifest, whole_file.packed(manifest.to_wire())):
            return manifest
        return Manifest.from_wire(whole_file.read_object(self._manifest) or {})

    def outcome(self) -> Outcome | None:
        """Return how the batch ended, if it did."""
        values = whole_file.read_object(self._outcome)
        return None if values is None else Outcome.from_wire(values)

    def put_outcome(self, outcome: Outcome) -> bool:
        """Write down how the batch ended, unless somebody did; says whether this was it."""
        return whole_file.create(self._outcome, whole_file.packed(outcome.to_wire()))

    def remove_drafts(self) -> None:
        """Remove what runners that were killed left. Nothing of theirs may be being written."""
        for name in _WRITTEN_BY_RUNNERS:
            for draft in self.path.glob(f".{name}.*"):
                draft.unlink(missing_ok=True)

    def forget_outcome(self) -> None:
        """Remove the outcome of an input that was refused, for another try."""
        self._outcome.unlink(missing_ok=True)

    def progress(self) -> Mapping[str, Any] | None:
        """Return the last progress that a runner told."""
        return whole_file.read_object(self._progress)

    def put_progress(self, values: Mapping[str, object]) -> None:
        """Tell progress."""
        whole_file.replace(self._progress, whole_file.packed(values))

    @property
    def _manifest(self) -> Path:
        return self.path / "batch.json"

    @property
    def _outcome(self) -> Path:
        return self.path / "outcome.json"

    @property
    def _progress(self) -> Path:
        return self.path / "progress.json"
