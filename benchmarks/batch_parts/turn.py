"""What one client made of one file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """So many lines and tokens in so many seconds, `what` says how.

    `whole_s` is from the command until its end, where it is a command. `cpu_s` is what engine and
    client used of the processors meanwhile, where that is known.
    """

    seconds: float
    lines: int
    tokens: int
    what: str = ""
    whole_s: float | None = None
    cpu_s: float | None = None

    @property
    def tokens_per_s(self) -> float:
        """How fast it was."""
        return self.tokens / self.seconds

    @property
    def lines_per_s(self) -> float:
        """How fast it was in lines."""
        return self.lines / self.seconds
