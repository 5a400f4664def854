"""How much memory the bodies of all requests under way may take in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from resource_server.domain import errors

#: A body stays in memory until its request is answered, so this bounds what waits for a turn and
#: what waits for a site together (bytes).
BODIES_BYTES = 512 * 1024 * 1024


class Bodies:
    """Counts bodies from the admission of their requests to the end, and refuses too many.

    One cluster takes half of the room: a site that is away must not keep out the others.
    """

    def __init__(self, limit: int = BODIES_BYTES) -> None:
        self._limit = limit
        self._of_cluster: Counter[str] = Counter()
        self.size = 0

    @contextmanager
    def held(self, cluster: str, size: int) -> Iterator[None]:
        """Count a body of so many bytes, or raise `BackendUnavailable` at once."""
        of_cluster = self._of_cluster[cluster] + size
        if self.size + size > self._limit or of_cluster > self._limit // 2:
            raise errors.BackendUnavailable(
                "Too many large requests are under way. Try again in a moment."
            )
        self.size += size
        self._of_cluster[cluster] = of_cluster
        try:
            yield
        finally:
            self.size -= size
            self._of_cluster[cluster] -= size
