"""For how long each instance has said nothing new, by this process's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Silence:
    """Compares heartbeats with those seen before: the clocks of nodes may differ from ours."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def of(self, instance: str, heartbeat: float) -> float:
        """Return for how long this heartbeat has been the last one (seconds)."""
        now = self._clock()
        known = self._seen.get(instance)
        if known is None or known[0] != heartbeat:
            self._seen[instance] = (heartbeat, now)
            return 0.0
        return now - known[1]

    def forget_all_but(self, instances: Iterable[str]) -> None:
        """Forget instances that are gone."""
        kept = set(instances)
        self._seen = {name: seen for name, seen in self._seen.items() if name in kept}
