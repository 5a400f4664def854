"""What the site has learnt of itself: how long jobs waited in the queue, how long models loaded."""

from __future__ import annotations

import json
import logging
import statistics
from collections import deque
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

#: Of each kind so many are remembered: what was long ago says little of today.
REMEMBERED = 20
#: Lines of the file, beyond which it is written anew with what is remembered, unless that would
#: leave out next to nothing.
MOST_LINES = 5_000
#: No wait and no load takes as long as this (seconds): a file that says so is damaged.
_TOO_LONG_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A job with so many GPUs has waited in a partition for so long (seconds)."""

    partition: str
    gpus: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An instance of a model was ready so long after its job had begun (seconds)."""

    model: str
    framework: str
    seconds: float


class History:
    """Remembers, on disk too, and estimates from what it remembers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[tuple[str, ...], deque[float]] = {}
        self._lines = 0
        #: What a crash left of the last line must not spoil the next.
        self._is_torn = False

    def load(self) -> None:
        """Read the file; lines that are damaged, as the last one after a crash, are passed over."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        self._is_torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            self._lines += 1
            try:
                *kind, seconds = json.loads(line)
                self._remember(tuple(str(part) for part in kind), _duration(seconds))
            except (ValueError, TypeError, RecursionError) as error:
                log.warning("history_line_damaged path=%s error=%s", self._path, error)

    def add(self, seen: Queued | Loaded) -> None:
        """Remember what was seen."""
        kind = _kind(seen)
        self._remember(kind, seen.seconds)
        if self._lines >= max(MOST_LINES, 2 * sum(map(len, self._seconds.values()))):
            self._write_anew()
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._is_torn else "") + _line(kind, seen.seconds))
        self._lines, self._is_torn = self._lines + 1, False

    def queue_s(self, partition: str, gpus: int) -> float | None:
        """Return how long a job like this usually waits; None if nobody knows."""
        return self._usual(("queued", partition, str(gpus)))

    def load_s(self, model: str, framework: str) -> float | None:
        """Return how long a model usually loads; None if nobody knows."""
        return self._usual(("loaded", model, framework))

    def _usual(self, kind: tuple[str, ...]) -> float | None:
        seconds = self._seconds.get(kind)
        return statistics.median(seconds) if seconds else None

    def _remember(self, kind: tuple[str, ...], seconds: float) -> None:
        self._seconds.setdefault(kind, deque(maxlen=REMEMBERED)).append(seconds)

    def _write_anew(self) -> None:
        draft = self._path.with_suffix(".draft")
        lines = [_line(kind, one) for kind, all_ in self._seconds.items() for one in all_]
        draft.write_text("".join(lines), encoding="utf-8")
        draft.replace(self._path)
        self._lines, self._is_torn = len(lines), False


def _kind(seen: Queued | Loaded) -> tuple[str, ...]:
    match seen:
        case Queued():
            return ("queued", seen.partition, str(seen.gpus))
        case Loaded():
            return ("loaded", seen.model, seen.framework)


def _duration(seconds: object) -> float:
    found = float(str(seconds))
    if not 0 <= found < _TOO_LONG_S:
        raise ValueError(f"{found} is no duration")
    return found


def _line(kind: tuple[str, ...], seconds: float) -> str:
    return json.dumps([*kind, round(seconds, 3)]) + "\n"
