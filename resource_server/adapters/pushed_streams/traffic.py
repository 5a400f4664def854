"""What sites push, counted for metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How an answer that was waited for ended.

    It came whole; the site said why it did not; its connection broke, fell silent or broke the
    protocol; its caller left; or the site never opened it, as one without a ready instance.
    """

    WHOLE = "whole"
    FAILED = "failed"
    CUT = "cut"
    LEFT = "left"
    NOT_OPENED = "not_opened"


@dataclass(slots=True, kw_only=True)
class PushTraffic:
    """What one cluster pushed since the process began, in bytes of answers, and what is open."""

    open: int = 0
    received: int = 0
    ended: Counter[Outcome] = field(default_factory=Counter)
