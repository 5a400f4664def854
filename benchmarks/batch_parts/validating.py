"""How fast a file is checked."""

from __future__ import annotations

import time
from pathlib import Path

from batch.input_file import InputFile
from batch.rules import Rules
from batch.validation import validate

_ROUNDS = 3


def lines_per_s(source: Path) -> float:
    """Return the best of a few rounds: the file is in the machine's memory by then."""
    return max(_once(source) for _ in range(_ROUNDS))


def _once(source: Path) -> float:
    began = time.perf_counter()
    with InputFile.open(source) as file:
        found = validate(file, Rules())
    if found.error_count:
        raise ValueError(f"the benchmark's own file has mistakes: {found.errors[0]}")
    return found.total / (time.perf_counter() - began)
