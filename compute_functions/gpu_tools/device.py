"""One GPU of a node as its vendor's tool sees it, and by which names a job is given it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: Slurm may write consecutive numbers so. No node has more digits of them.
_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU: its number, its id where the tool tells it, and how busy it is.

    `percent` is the part of the last moments in which it computed; None where the tool cannot say,
    as of a GPU that is shared out in parts.
    """

    index: int
    uuid: str = ""
    percent: float | None = None

    def is_named(self, name: str) -> bool:
        """Tell whether a job's environment means this one; ids may be cut short there."""
        if name.isdecimal():
            return int(name) == self.index
        return name != "" and self.uuid.startswith(name)


def ours(devices: Sequence[Device], names: str | None, *, ordered: int) -> tuple[Device, ...]:
    """Return those of a node's GPUs that a job was given, by their names in its environment.

    Where it names none a job has the node for itself, or nobody knows: then there are none.
    """
    if names is None:
        return tuple(devices) if len(devices) <= ordered else ()
    wanted = tuple(_each(names))
    return tuple(one for one in devices if any(one.is_named(name) for name in wanted))


def mean_percent(devices: Iterable[Device]) -> float | None:
    """Return how busy GPUs are together; None if nobody can say it of any."""
    known = [one.percent for one in devices if one.percent is not None]
    return sum(known) / len(known) if known else None


def _each(names: str) -> Iterator[str]:
    for name in names.split(","):
        span = _RANGE.fullmatch(name.strip())
        if span is None:
            yield name.strip()
        else:
            yield from map(str, range(int(span[1]), int(span[2]) + 1))
