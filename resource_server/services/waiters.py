"""How many requests of this process wait for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from resource_server.domain.lifecycle import Place
from resource_server.services.demand import Waiters


class WaiterCounts:
    """Counts, and tells of each change at once."""

    def __init__(self, tell: Callable[[Mapping[Place, Waiters]], None]) -> None:
        self._tell = tell
        self._counts: dict[Place, Waiters] = {}

    @property
    def counts(self) -> Mapping[Place, Waiters]:
        """All counts now."""
        return dict(self._counts)

    @contextmanager
    def waiting(self, place: Place) -> Iterator[None]:
        """Count a request as waiting during the block."""
        self._add(place, waiting=1, asked=1)
        try:
            yield
        finally:
            self._add(place, waiting=-1, asked=0)

    def begin_anew(self) -> None:
        """Forget who asked: whoever hears the next counts knows nothing of the last."""
        self._counts = {
            place: Waiters(waiting=count.waiting, asked=count.waiting)
            for place, count in self._counts.items()
            if count.waiting
        }

    def _add(self, place: Place, *, waiting: int, asked: int) -> None:
        count = self._counts.get(place, Waiters())
        self._counts[place] = Waiters(waiting=count.waiting + waiting, asked=count.asked + asked)
        self._tell(self._counts)
