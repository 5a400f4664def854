"""A line of a benchmark's table: what was measured, the target, and whether it was met."""

from __future__ import annotations

from dataclasses import dataclass

LABEL, CELL = 68, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: a value, and the most or least that it may be; None where there is no target."""

    label: str
    value: float
    most: float | None = None
    least: float | None = None
    digits: int = 0
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a target, and it was not met."""
        above = self.most is not None and self.value > self.most
        return above or (self.least is not None and self.value < self.least)

    def text(self) -> str:
        """Return the line as it is printed."""
        verdict = "MISSED" if self.missed else ""
        number = f"{self.value:,.{self.digits}f}"
        return (
            f"  {self.label:{LABEL}}{number:>{CELL}}{self._target():>{CELL}}  {verdict}{self.note}"
        )

    def _target(self) -> str:
        if self.least is not None:
            return f"{'=' if self.least == self.most else '>='} {self.least:g}"
        return "" if self.most is None else f"<= {self.most:g}"
