"""Wakes whoever waits for a change of one of several things."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

#: A thing that changes whenever any other does.
ANY: Final = ""


class Changes:
    """A number for each thing, which grows with its changes. It belongs to one event loop."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def note(self, thing: str) -> None:
        """Take note of a change, and wake all who wait for it."""
        for changed in {thing, ANY}:
            self._numbers[changed] += 1
            for waiting in self._waiting.pop(changed, ()):
                if not waiting.done():
                    waiting.set_result(None)

    def number(self, thing: str) -> int:
        """Return the number of changes so far."""
        return self._numbers[thing]

    async def after(self, seen: Mapping[str, int], *, within_s: float) -> bool:
        """Wait until one of these has another number than seen; tell whether it has.

        Not longer than `within_s`: who waits for a change has other things to do as well.
        """
        if any(self._numbers[thing] != number for thing, number in seen.items()):
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for thing in seen:
            self._waiting[thing].add(waiting)
        try:
            done, _ = await asyncio.wait({waiting}, timeout=max(0.0, within_s))
        finally:
            for thing in seen:
                self._forget(thing, waiting)
        return bool(done)

    def _forget(self, thing: str, waiting: asyncio.Future[None]) -> None:
        others = self._waiting.get(thing)
        if others is not None:
            others.discard(waiting)
            if not others:
                del self._waiting[thing]
