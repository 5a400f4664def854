"""The journal of a batch as it stands on the disk, kept when the site forgets the batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch.journal import segment
from batch.journal.record import Answer, Seal, unframe, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One runner's part: what it found sealed, and the end of each answer's record (bytes)."""

    seal: Mapping[int, int] | None
    answers: tuple[tuple[int, Answer], ...]

    def until(self, end: int) -> dict[int, Answer]:
        """Return the answers in the first `end` bytes by line, the first of each."""
        found: dict[int, Answer] = {}
        for at, answer in self.answers:
            if at <= end:
                found.setdefault(answer.line, answer)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Journals:
    """All segments of a batch. `kept` is a folder of ours on the same disk."""

    folder: Path
    kept: Path

    def keep(self) -> None:
        """Hold on to every segment that there is: it goes on growing in both places."""
        with suppress(FileNotFoundError):  # The batch has not begun, or is forgotten.
            for epoch in segment.epochs_in(self.folder):
                with suppress(FileExistsError):
                    os.link(segment.path_of(self.folder, epoch), self.path(epoch))

    def path(self, epoch: int) -> Path:
        """Return the file of a segment that is kept."""
        return segment.path_of(self.kept, epoch)

    def segments(self) -> dict[int, Segment]:
        """Return what stands there now."""
        self.keep()
        return {epoch: self._segment(epoch) for epoch in segment.epochs_in(self.kept)}

    def _segment(self, epoch: int) -> Segment:
        seal: Mapping[int, int] | None = None
        answers = []
        for offset, content in segment.read(self.kept, epoch):
            payload = unframe(content)
            record = None if payload is None else unpack(payload)
            if isinstance(record, Answer):
                answers.append((offset + len(content), record))
            elif isinstance(record, Seal):
                seal = record.lengths
        return Segment(seal=seal, answers=tuple(answers))


def held_before(segments: Mapping[int, Segment], epoch: int) -> dict[int, Answer]:
    """Return the answers that held when the runner of an epoch began, by line.

    Without its seal it asked for nothing, and nothing is known.
    """
    own = segments.get(epoch)
    if own is None or own.seal is None:
        return {}
    return _held(segments, own.seal)


def held(segments: Mapping[int, Segment]) -> dict[int, Answer]:
    """Return the answers that hold now, by line: sealed ones, and all of the last runner's."""
    sealed = [epoch for epoch, one in segments.items() if one.seal is not None]
    if not sealed:
        return {}
    last = max(sealed)
    found = held_before(segments, last)
    return {**dict(segments[last].until(_ALL)), **found}


#: More than any segment has (bytes).
_ALL = 2**63


def _held(segments: Mapping[int, Segment], seal: Mapping[int, int]) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    for epoch in sorted(seal):
        for line, answer in segments[epoch].until(seal[epoch]).items():
            found.setdefault(line, answer)
    return found
