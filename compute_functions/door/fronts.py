"""The two ways into an instance, its relay and its door, as the one companion of its engine."""

from __future__ import annotations

import time

from compute_functions.attendant import Companion
from compute_functions.contract.relay import EngineLoad
from compute_functions.door.door import Door


class Fronts:
    """An `attendant.Companion`: the relay, and the door where the instance has one."""

    def __init__(self, relay: Companion, door: Door) -> None:
        self._relay = relay
        self._door = door

    @property
    def in_flight(self) -> int:
        """How many requests are under way, by either."""
        return self._relay.in_flight + self._door.in_flight

    @property
    def load(self) -> EngineLoad | None:
        """What the engine last told of its load."""
        return self._relay.load

    def start(self) -> None:
        """Begin: the engine is ready."""
        self._relay.start()

    def drain(self) -> None:
        """Take no new requests from hubs; whoever comes to the door read that we were ready."""
        self._relay.drain()

    async def drained(self, within_s: float) -> bool:
        """Wait for the requests under way, at most so long (seconds); tell whether all ended."""
        began = time.monotonic()
        if not await self._relay.drained(within_s):
            return False
        return await self._door.drained(max(0.0, within_s - (time.monotonic() - began)))

    async def look(self) -> EngineLoad | None:
        """Ask the engine for its load now."""
        return await self._relay.look()
