"""What a cluster offers in batches: to whom, how many, and how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOffer:
    """The `batches` block of a cluster's file.

    Members of one of `groups` may have batches done, each of them `most_active` at once; those of
    one of `projects` may, too, below its URL. An input has at most `most_lines` lines and
    `most_bytes` bytes, and `most_inputs` embedding inputs, None for as many as there may be lines,
    and 150,000 in any case. Members of a group in `weights` get so many times the usual share where
    there is not enough for everybody, and so does a project in `project_weights`.
    """

    groups: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    most_active: int = 5
    most_lines: int = 150_000
    most_bytes: int = 2_000_000_000
    most_inputs: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    project_weights: Mapping[str, float] = field(default_factory=dict)

    def is_for(self, groups: frozenset[str], project: str | None = None) -> bool:
        """Tell whether the offer is for somebody in these groups, who asks as one of a project."""
        return bool(self.groups & groups) or project in self.projects

    def weight(self, groups: frozenset[str], project: str | None = None) -> float:
        """Return the largest weight that somebody in these groups has, or the project's.

        A project's members share one part, which is as large whoever of them asks.
        """
        if project is not None:
            return self.project_weights.get(project, 1.0)
        return max((self.weights[group] for group in groups & self.weights.keys()), default=1.0)
