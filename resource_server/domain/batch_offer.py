"""What a cluster offers in batches: to whom, how many, and how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOffer:
    """The `batches` block of a cluster's file.

    Members of one of `groups` may have batches done, each of them `most_active` at once. An input
    has at most `most_lines` lines and `most_bytes` bytes. Members of a group in `weights` get so
    many times the usual share where there is not enough for everybody.
    """

    groups: frozenset[str]
    most_active: int = 5
    most_lines: int = 150_000
    most_bytes: int = 2_000_000_000
    weights: Mapping[str, float] = field(default_factory=dict)

    def is_for(self, groups: frozenset[str]) -> bool:
        """Tell whether the offer is for somebody in these groups."""
        return bool(self.groups & groups)

    def weight(self, groups: frozenset[str]) -> float:
        """Return the largest weight that somebody in these groups has."""
        return max((self.weights[group] for group in groups & self.weights.keys()), default=1.0)
