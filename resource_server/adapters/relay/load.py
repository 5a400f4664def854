"""How busy the instances of a model are, and which of them takes the next request."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

#: An instance is left for another when it has so much more than its share of the requests.
ABOVE_SHARE = 1.25


@dataclass(slots=True)
class Load:
    """What one engine said last of its requests, and how many of them were ours then."""

    told: float = 0.0
    ours_then: int = 0
    #: The number of the choice that it was last: of equals, the one that waits longest is next.
    chosen: int = 0

    def take(self, told: float, ours: int) -> None:
        """Take what the engine says."""
        self.told, self.ours_then = told, ours

    def now(self, ours: int) -> float:
        """Return its requests: ours, and as many of others as there were when it last told."""
        return ours + max(0.0, self.told - self.ours_then)


class Choosable(Protocol):
    """An instance that can take a request."""

    @property
    def load(self) -> Load:
        """What is known of its engine."""

    @property
    def busyness(self) -> float:
        """How many requests its engine has."""

    @property
    def name(self) -> str:
        """What tells it from others."""


ChoosableT = TypeVar("ChoosableT", bound=Choosable)


def choose(instances: Sequence[ChoosableT], affinity: str) -> ChoosableT:
    """Return the instance with the least work; with `affinity` the same one each time.

    That one is left for the next in its order only while it has a quarter more than its share of
    all requests: consistent hashing with bounded loads. There must be an instance.
    """
    if len(instances) == 1:
        return instances[0]
    if affinity:
        return _kept(instances, affinity)
    return min(instances, key=lambda one: (one.busyness, one.load.chosen))


def _kept(instances: Sequence[ChoosableT], affinity: str) -> ChoosableT:
    in_order = sorted(instances, key=lambda one: _rank(affinity, one.name))
    work = sum(one.busyness for one in instances) + 1
    most = math.ceil(ABOVE_SHARE * work / len(instances))
    for one in in_order:
        if one.busyness + 1 <= most:
            return one
    return min(instances, key=lambda one: one.busyness)


def _rank(affinity: str, name: str) -> bytes:
    return hashlib.blake2b(f"{affinity}\0{name}".encode(), digest_size=8).digest()
