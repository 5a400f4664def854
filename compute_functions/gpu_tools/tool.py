"""A vendor's tool: what is run, how its text is read, and how a job's environment names GPUs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools.device import Device

_WHOLE = 100.0
#: At a line's beginning: a warning may hold brackets.
_START = re.compile(r"^\s*[\[{]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. `read` raises `DriverFailed` for a text that is none of the tool's.

    `variables` are those of the environment that may name a job's GPUs as the tool does; the first
    that is set counts.
    """

    program: str
    arguments: tuple[str, ...]
    read: Callable[[str], tuple[Device, ...]]
    variables: tuple[str, ...]


def percent(said: object) -> float | None:
    """Return a percentage that a tool printed; None for whatever it prints when it cannot tell."""
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    try:
        found = float(said)
    except (ValueError, OverflowError):
        return None
    return min(found, _WHOLE) if math.isfinite(found) and found >= 0 else None


def printed_json(program: str, text: str) -> object:
    """Return the JSON that a tool printed; some print warnings before it."""
    start = _START.search(text)
    try:
        found: object = json.loads(text[start.start() if start else 0 :])
    except (ValueError, RecursionError) as error:
        raise DriverFailed(f"{program}: its answer is not JSON") from error
    return found
