"""What a cold start of a model takes at this site, as it was seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds in the scheduler's queue, and on the node until ready; None where nobody knows."""

    queue_s: float | None = None
    load_s: float | None = None
