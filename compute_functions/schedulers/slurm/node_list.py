"""Slurm's short form of many nodes: `gpu[1-3,07],login1`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from compute_functions.errors import DriverFailed

#: Commas between names, not those within brackets.
_NAME = re.compile(r"[^,\[\]]+(?:\[[^\[\]]*\][^,\[\]]*)*")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
#: No cluster has more; a longer list is a broken one.
MOST_NODES = 100_000


def expand(text: str) -> tuple[str, ...]:
    """Return the names one by one; none for an empty text and for `(null)`."""
    if text in {"", "(null)", "None assigned"}:
        return ()
    if not re.fullmatch(rf"{_NAME.pattern}(?:,{_NAME.pattern})*", text):
        raise DriverFailed(f"a list of nodes is not understood: {text[:100]!r}")
    names = (name for part in _NAME.findall(text) for name in _expanded(part))
    return tuple(itertools.islice(names, MOST_NODES))


def _expanded(part: str) -> Iterator[str]:
    """Yield the names of one part, which may have several brackets."""
    pieces = _BRACKETS.split(part)
    texts, ranges = pieces[::2], [list(_numbers(inner)) for inner in pieces[1::2]]
    for numbers in itertools.product(*ranges):
        yield "".join(itertools.chain(*itertools.zip_longest(texts, numbers, fillvalue="")))


def _numbers(inner: str) -> Iterator[str]:
    for item in inner.split(","):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise DriverFailed(f"a list of nodes is not understood: {inner[:100]!r}")
        first, last = match[1], match[2] or match[1]
        for number in range(int(first), min(int(last), int(first) + MOST_NODES) + 1):
            yield str(number).zfill(len(first))
