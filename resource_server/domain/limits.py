"""How much a person may ask for: rates and shares, and how much of them is left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: For so many seconds a place stays taken if its worker is not heard of.
LEASE_S = 30.0
#: After so many seconds it is worth asking whether a place has become free.
PLACE_WAIT_S = 2.0
_MINUTE_S = 60.0
#: What adding up fractions may lack of a whole.
_ROUNDING = 1e-6


class Measure(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


class Scope(StrEnum):
    """Of what the person's requests it is counted."""

    PERSON = "person"
    KEY = "key"
    MODEL = "model"
    #: Those about files and batches, which go to no model.
    BATCHES = "batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How much of one limit is left, for the headers `x-ratelimit-*`.

    `limit` counts per minute, except for concurrent requests. After `reset_s` seconds all of it
    is there again.
    """

    measure: Measure
    limit: int
    remaining: int
    reset_s: float
    scope: Scope = Scope.PERSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of one person: `amount` per minute, or at once.

    `owner` is the id of the person's account. `subject` is the key or the model, where only its
    requests count.
    """

    measure: Measure
    amount: int
    owner: str
    scope: Scope = Scope.PERSON
    subject: str = ""

    def standing(self, *, remaining: int, reset_s: float) -> Standing:
        """Return how this limit stands; a negative rest reads as none."""
        return Standing(
            measure=self.measure,
            limit=self.amount,
            remaining=max(0, remaining),
            reset_s=reset_s,
            scope=self.scope,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySizes:
    """How many bytes the body of one person's request may have; None leaves it to the settings.

    `upload` is for those that hold a file, `body` for all others.
    """

    body: int | None = None
    upload: int | None = None


#: Everything is left to the settings.
NO_SIZES = BodySizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one request asks for: a part of each of these limits, all of one owner.

    `lease` is a name that no other request has.
    """

    lease: str
    limits: tuple[Limit, ...]

    @property
    def places(self) -> tuple[Limit, ...]:
        """The limits in which the request takes a place."""
        # A list: a generator costs each request more than what it finds.
        return tuple([limit for limit in self.limits if limit.measure is Measure.CONCURRENT])

    @property
    def is_settled_later(self) -> bool:
        """Whether there is something to give back or to charge once the request is over."""
        return any(limit.measure is not Measure.REQUESTS for limit in self.limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a claim was granted, and how each of its limits stands now, in their order.

    `waits_s` are the seconds until there may be room again: 0 where there is. If any is not 0,
    nothing was taken.
    """

    standings: tuple[Standing, ...]
    waits_s: tuple[float, ...]

    @property
    def granted(self) -> bool:
        """Whether the request may run."""
        return not any(self.waits_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What is left of a rate: it fills up by `amount` a minute, up to `amount`.

    It never lets more through than `amount` and what filled up since. What is charged after the
    fact may make it negative. Times are seconds on any clock that does not go back.
    """

    amount: int
    level: float
    at: float

    @classmethod
    def full(cls, amount: int, at: float) -> Bucket:
        """Return a bucket from which nothing was taken lately."""
        return cls(amount=amount, level=float(amount), at=at)

    def as_of(self, now: float, amount: int) -> Bucket:
        """Return the bucket at a later time, for a limit that may have changed meanwhile."""
        filled = self.level + max(0.0, now - self.at) * amount / _MINUTE_S
        return Bucket(amount=amount, level=min(float(amount), filled), at=max(now, self.at))

    def less(self, quantity: int) -> Bucket:
        """Return the bucket after `quantity` was taken."""
        return Bucket(amount=self.amount, level=self.level - quantity, at=self.at)

    def wait_s(self, quantity: int) -> float:
        """Return the seconds until `quantity` is there; 0 if it is."""
        missing = quantity - self.level
        return missing * _MINUTE_S / self.amount if missing > _ROUNDING else 0.0

    @property
    def remaining(self) -> int:
        """What may be taken now, in whole ones."""
        return int(self.level + _ROUNDING)

    @property
    def reset_s(self) -> float:
        """The seconds until it is full."""
        return max(0.0, self.amount - self.level) * _MINUTE_S / self.amount
