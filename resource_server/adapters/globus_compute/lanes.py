"""The calls that wait for their submission, and which of them go together next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from compute_functions.contract import ENVELOPE_ALLOWANCE, GLOBUS_PAYLOAD_LIMIT
from resource_server.adapters.globus_compute.calls import Call, Lane

#: What the tasks of one submission may add up to, packed (bytes).
BATCH_BYTES = GLOBUS_PAYLOAD_LIMIT - ENVELOPE_ALLOWANCE
#: A submission of more tasks takes the service and the endpoint too long at once.
BATCH_TASKS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Calls that share one submission, oldest first."""

    lane: Lane
    calls: tuple[Call, ...]

    @property
    def size(self) -> int:
        """The packed size of all arguments in bytes."""
        return sum(call.size for call in self.calls)


class Lanes:
    """Queues by lane. The lane whose oldest call has waited longest goes next."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[Call, None]] = {}
        self._filled = asyncio.Event()
        self.size = 0

    def __len__(self) -> int:
        return sum(len(calls) for calls in self._lanes.values())

    def add(self, call: Call) -> None:
        """Queue a call."""
        self._lanes.setdefault(call.lane, {})[call] = None
        self.size += call.size
        self._filled.set()

    def discard(self, call: Call) -> None:
        """Forget a call, if it is queued here: nobody waits for it any more."""
        calls = self._lanes.get(call.lane, {})
        if call in calls:
            del calls[call]
            self.size -= call.size
        self._tidy(call.lane)

    def put_back(self, lane: Lane, calls: Iterable[Call]) -> None:
        """Queue the calls of a lane again, before all others of theirs."""
        again = dict.fromkeys(calls)
        if again:
            self._lanes[lane] = again | self._lanes.get(lane, {})
            self.size += sum(call.size for call in again)
            self._filled.set()

    def next_batch(self, now: float) -> Batch | None:
        """Take the calls that go next; whoever has left or waited too long is dropped."""
        self._drop_late(now)
        if not self._lanes:
            return None
        lane = min(self._lanes, key=self._head_queued_at)
        chosen: list[Call] = []
        room = BATCH_BYTES
        for call in self._lanes[lane]:
            if call.size > room and chosen:
                break
            chosen.append(call)
            room -= call.size
            if len(chosen) == BATCH_TASKS:
                break
        for call in chosen:
            self.discard(call)
        return Batch(lane=lane, calls=tuple(chosen))

    async def filled(self) -> None:
        """Wait until a call is queued."""
        await self._filled.wait()

    def _head_queued_at(self, lane: Lane) -> float:
        return next(iter(self._lanes[lane])).queued_at

    def _drop_late(self, now: float) -> None:
        late = [
            call
            for calls in self._lanes.values()
            for call in calls
            if call.result.done() or call.deadline <= now
        ]
        for call in late:
            self.discard(call)

    def _tidy(self, lane: Lane) -> None:
        if not self._lanes.get(lane, True):
            del self._lanes[lane]
        if not self._lanes:
            self._filled.clear()
