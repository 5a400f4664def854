"""Limits counted in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from resource_server.domain.limits import (
    LEASE_S,
    PLACE_WAIT_S,
    Bucket,
    Claim,
    Limit,
    Measure,
    Scope,
    Standing,
    Verdict,
)

#: What is full or empty again is forgotten this often (seconds).
SWEEP_EVERY_S = 60.0
_Counter: TypeAlias = tuple[str, Measure, Scope, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The places of one limit; `until` says when each is free again, by lease."""

    amount: int
    until: dict[str, float]
    reset_s: float = 0.0

    @property
    def remaining(self) -> int:
        return self.amount - len(self.until)

    def wait_s(self, quantity: int) -> float:
        return 0.0 if quantity <= self.remaining else PLACE_WAIT_S


class MemoryLimitStore:
    """A `ports.LimitStore` for one worker; it is never away.

    No method waits for anything, so that each is done at once.
    """

    def __init__(
        self, *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease_s = lease_s
        self._clock = clock
        self._buckets: dict[_Counter, Bucket] = {}
        self._places: dict[_Counter, dict[str, float]] = {}
        self._next_sweep = clock() + SWEEP_EVERY_S

    async def take(self, claim: Claim) -> Verdict:
        """Take from every limit or from none; see `ports.LimitStore`."""
        now = self._clock()
        self._sweep(now)
        found = [self._look(limit, now) for limit in claim.limits]
        # Lists and no generators, which cost each request more than what they yield.
        waits_s = tuple([counter.wait_s(1) for counter in found])
        if not any(waits_s):
            found = [
                self._take(limit, counter, claim.lease)
                for limit, counter in zip(claim.limits, found, strict=True)
            ]
        return Verdict(standings=_standings(claim, found), waits_s=waits_s)

    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        """Give places back and charge tokens; see `ports.LimitStore`."""
        return self.settle_now(claim, tokens)

    def settle_now(self, claim: Claim, tokens: int) -> tuple[Standing, ...]:
        """Do what `settle` does, for who cannot wait."""
        now = self._clock()
        found = []
        for limit in claim.limits:
            counter = self._look(limit, now)
            if isinstance(counter, _Places):
                counter.until.pop(claim.lease, None)
            elif limit.measure is Measure.TOKENS and tokens:
                counter = self._draw(limit, counter, tokens)
            found.append(counter)
        return _standings(claim, found)

    async def renew(self, claims: Collection[Claim]) -> None:
        """Begin leases anew; see `ports.LimitStore`."""
        now = self._clock()
        for claim in claims:
            for limit in claim.places:
                places = self._taken(limit, now)
                if claim.lease in places:
                    places[claim.lease] = now + self._lease_s

    @property
    def size(self) -> int:
        """How many counters are kept."""
        return len(self._buckets) + len(self._places)

    def _look(self, limit: Limit, now: float) -> Bucket | _Places:
        """Return a limit's counter as of now."""
        if limit.measure is Measure.CONCURRENT:
            return _Places(amount=limit.amount, until=self._taken(limit, now))
        known = self._buckets.get(_counter(limit))
        return known.as_of(now, limit.amount) if known else Bucket.full(limit.amount, now)

    def _take(self, limit: Limit, counter: Bucket | _Places, lease: str) -> Bucket | _Places:
        if isinstance(counter, _Places):
            counter.until[lease] = self._clock() + self._lease_s
            self._places[_counter(limit)] = counter.until
        elif limit.measure is Measure.REQUESTS:
            return self._draw(limit, counter, 1)
        return counter

    def _draw(self, limit: Limit, bucket: Bucket, quantity: int) -> Bucket:
        self._buckets[_counter(limit)] = bucket = bucket.less(quantity)
        return bucket

    def _taken(self, limit: Limit, now: float) -> dict[str, float]:
        """Return the places that are taken, without those whose lease is over."""
        places = self._places.get(_counter(limit), {})
        for lease in [lease for lease, until in places.items() if until <= now]:
            del places[lease]
        return places

    def _sweep(self, now: float) -> None:
        """Forget whoever has not asked for long."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_EVERY_S
        self._buckets = {
            counter: bucket
            for counter, bucket in self._buckets.items()
            if bucket.as_of(now, bucket.amount).reset_s
        }
        self._places = {
            counter: places
            for counter, places in self._places.items()
            if any(until > now for until in places.values())
        }


def _standings(claim: Claim, found: Iterable[Bucket | _Places]) -> tuple[Standing, ...]:
    return tuple(
        [
            limit.standing(remaining=counter.remaining, reset_s=counter.reset_s)
            for limit, counter in zip(claim.limits, found, strict=True)
        ]
    )


def _counter(limit: Limit) -> _Counter:
    return (limit.owner, limit.measure, limit.scope, limit.subject)
