"""Tells whether the gateway is fit to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from resource_server.ports import Part


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
        self, *, shared: Mapping[str, Part], own: Mapping[str, Part] | None = None
    ) -> None:
        self._shared = shared
        self._own = own or {}

    async def check(self) -> Report:
        """Return how well this process serves."""
        parts = {**self._shared, **self._own}
        answers = await asyncio.gather(*(part.available() for part in parts.values()))
        checks = dict(zip(parts, answers, strict=True))
        if not all(checks[name] for name in self._own):
            return Report(fitness=Fitness.UNAVAILABLE, checks=checks)
        fitness = Fitness.OK if all(answers) else Fitness.DEGRADED
        return Report(fitness=fitness, checks=checks)
