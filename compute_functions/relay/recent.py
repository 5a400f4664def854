"""Which requests run and which have run lately, so that none runs twice."""

from __future__ import annotations

from collections import deque

#: So many requests that have ended are remembered.
REMEMBERED = 10_000


class RecentRequests:
    """The ids of requests, over all links of a relay."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._known: set[str] = set()
        self._ended: deque[str] = deque()
        self._remembered = remembered

    def begin(self, request_id: str) -> bool:
        """Note a request that begins; False if it runs already or has run lately."""
        if request_id in self._known:
            return False
        self._known.add(request_id)
        return True

    def end(self, request_id: str) -> None:
        """Note that a request which `begin` took has ended."""
        self._ended.append(request_id)
        if len(self._ended) > self._remembered:
            self._known.discard(self._ended.popleft())
