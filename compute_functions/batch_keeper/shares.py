"""Fair share: how much each owner has used of late, and so who goes next.

Use is tokens, or lines where no tokens were told, divided by the batch's weight. It is halved every
hour: what somebody had yesterday counts no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

HALF_LIFE_S = 3_600.0
#: Less use than this is as good as none.
_LEAST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How much of one batch is recorded, in tokens or lines, and whom it is charged to."""

    batch: str
    share_of: str
    weight: float
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The use of each owner as of `at` (seconds since the epoch), and what was charged already."""

    at: float = 0.0
    use: Mapping[str, float] = field(default_factory=dict)
    charged: Mapping[str, int] = field(default_factory=dict)

    def of(self, owner: str) -> float:
        """Return an owner's use by weight."""
        return self.use.get(owner, 0.0)

    def charge(self, recorded: Iterable[Recorded], *, now: float) -> Self:
        """Return what it is now; batches that are not among those recorded are forgotten."""
        use = self._faded(now)
        charged: dict[str, int] = {}
        for one in recorded:
            before = self.charged.get(one.batch, 0)
            # A word that was lost and is told anew is charged once.
            charged[one.batch] = max(before, one.units)
            if one.units > before:
                more = (one.units - before) / one.weight
                use[one.share_of] = use.get(one.share_of, 0.0) + more
        return type(self)(at=now, use=use, charged=charged)

    def _faded(self, now: float) -> dict[str, float]:
        # A clock that was set back makes nobody's use grow.
        part = 0.5 ** (max(0.0, now - self.at) / HALF_LIFE_S)
        faded = {owner: use * part for owner, use in self.use.items()}
        return {owner: use for owner, use in faded.items() if use >= _LEAST}

    def to_wire(self) -> dict[str, object]:
        """Return a JSON-ready dict."""
        return {"at": self.at, "use": dict(self.use), "charged": dict(self.charged)}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote; of a file that is damaged nothing is known."""
        match wire:
            case {"at": int() | float() as at, "use": dict() as use, "charged": dict() as charged}:
                return cls(at=float(at), use=_numbers(use), charged=_numbers(charged))
        return cls()


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in values.items() if isinstance(one, int | float)}
