"""Tells whether the gateway is fit to serve."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from resource_server.ports import Part

#: Everybody may ask; so often at the most a part hears of it (seconds).
KEPT_S = 1.0


class Fitness(StrEnum):
    """How well a process serves."""

    OK = "ok"
    #: Something is away that all processes share: those whom the gateway knows are served, others
    #: may not be. Taking processes out of service would help nobody.
    DEGRADED = "degraded"
    #: This process cannot reach any cluster.
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How well a process serves, and for each part whether it answers."""

    fitness: Fitness
    checks: Mapping[str, bool]


class Readiness:
    """Asks the parts that requests need, in every case or in some."""

    def __init__(
        self,
        *,
        shared: Mapping[str, Part],
        own: Mapping[str, Part] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = {
            name: _Remembered(part, clock) for name, part in {**shared, **(own or {})}.items()
        }
        self._own = frozenset(own or ())

    async def check(self) -> Report:
        """Return how well this process serves, or did within the last second."""
        answers = await asyncio.gather(*(part.available() for part in self._parts.values()))
        checks = dict(zip(self._parts, answers, strict=True))
        if not all(checks[name] for name in self._own):
            return Report(fitness=Fitness.UNAVAILABLE, checks=checks)
        fitness = Fitness.OK if all(answers) else Fitness.DEGRADED
        return Report(fitness=fitness, checks=checks)


class _Remembered:
    """A part whose answer counts for `KEPT_S`, and which one caller at a time asks for all."""

    def __init__(self, part: Part, clock: Callable[[], float]) -> None:
        self._part = part
        self._clock = clock
        self._asking = asyncio.Lock()
        self._answer = False
        self._asked_at = -math.inf

    async def available(self) -> bool:
        """Tell whether the part answers, or did a moment ago."""
        async with self._asking:
            if self._clock() - self._asked_at > KEPT_S:
                self._answer = await self._part.available()
                self._asked_at = self._clock()
            return self._answer
