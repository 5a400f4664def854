"""What engines were asked, in their own words: noted before they do anything for a request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

#: How runners call their requests (`batch.asking.Naming`): a batch's seed, line, epoch and try.
_REQUEST = re.compile(r"batch-[0-9a-f]{12}-(\d+)-(\d+)\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A line that a runner asked an engine for, and when (seconds since the epoch)."""

    at: float
    line: int
    epoch: int


@dataclass(slots=True)
class Diary:
    """The diary that all engines of a model keep together, read as far as it is."""

    file: Path
    asked: list[Asked] = field(default_factory=list)
    #: When engines had loaded.
    loaded: list[float] = field(default_factory=list)
    _read: int = 0

    def read(self) -> None:
        """Read what was added."""
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # It is being written.
                self._read += len(line)
                self._take(json.loads(line))

    def first(self, *, after: float = 0.0, above: int = 0) -> Asked | None:
        """Return what was asked first after a moment by runners with a higher epoch than this."""
        self.read()
        return next((one for one in self.asked if one.at > after and one.epoch > above), None)

    def _take(self, entry: dict[str, str | float]) -> None:
        at = float(entry["at"])
        if entry["what"] == "loaded":
            self.loaded.append(at)
        elif found := _REQUEST.fullmatch(str(entry["request_id"])):
            self.asked.append(Asked(at=at, line=int(found[1]), epoch=int(found[2])))
