"""What is measured: something that answers OpenAI requests, and the processes it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from side_by_side.processes import descendants

WEB, HUB, RELAY, ENDPOINT, GATEWAY = "web", "hub", "relay", "endpoint", "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """How much a subject is asked for at once; what is more is left out."""

    connections: int = 1_000
    streams: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One column of the table: where it listens, and who works for it.

    `processes` are by what they do; one thing may be done by several.
    """

    name: str
    port: int
    path: str = "/v1/chat/completions"
    token: str = "unused"  # noqa: S105 - for those that check none
    processes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    start_s: float = 0.0
    most: Most = Most()

    @property
    def pids(self) -> list[int]:
        """All processes, in the order of `processes`."""
        return [pid for pids in self.processes.values() for pid in pids]

    def by_name(self, each: Sequence[float]) -> dict[str, float]:
        """Return the sums of numbers that stand in the order of `pids`."""
        left = iter(each)
        return {name: sum(next(left) for _ in pids) for name, pids in self.processes.items()}

    def grown(self) -> Subject:
        """Return it with the processes that those of the endpoint have started."""
        agents = self.processes.get(ENDPOINT, ())
        if not agents:
            return self
        all_of_them = tuple(pid for agent in agents for pid in descendants(agent))
        return replace(self, processes={**self.processes, ENDPOINT: all_of_them})
