"""How much each person may ask for at once and by the minute."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self, TypeAlias

from resource_server.domain import errors
from resource_server.domain.catalog import Model
from resource_server.domain.identity import Person
from resource_server.domain.inference import Usage
from resource_server.domain.limit_rules import LimitRules
from resource_server.domain.limits import (
    LEASE_S,
    BodySizes,
    Claim,
    Limit,
    Measure,
    Scope,
    Standing,
    Verdict,
)
from resource_server.ports import LimitStore
from resource_server.services.supervision import forever

#: Leases begin anew this often (seconds): two may fail before a place is lost.
RENEW_EVERY_S = LEASE_S / 3
#: After so many seconds the place of a request whose caller has left is no longer kept, whatever
#: became of it: sites work for nobody longer than an hour. A stream that lives keeps its own.
LONGEST_S = 4000.0
#: Seconds for what was used last to be counted when the gateway stops.
FAREWELL_S = 2.0
#: Gives a claim's places back, charges what it used, and returns how its limits stand now.
Settle: TypeAlias = Callable[[Claim, int], tuple[Standing, ...]]


class Admission:
    """A request that is let in for a block: it takes a place until it ends, and then what it used.

    `take` is not asked where nothing limits the request. Entering the block raises what it raises.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        take: Callable[[Admission], Awaitable[tuple[Standing, ...]]],
        settle: Callable[[Admission], asyncio.Task[None] | None],
    ) -> None:
        self.claim = claim
        self.standings: tuple[Standing, ...] = ()
        self.usage: Usage | None = None
        self.began_at = time.monotonic()
        self._take = take
        self._settle = settle
        self._settled: asyncio.Task[None] | None = None
        self._outlives = False
        self._ended = False

    async def __aenter__(self) -> Self:
        if self.claim.limits:
            self.standings = await self._take(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, unless the request outlives its caller, and wait until that is done."""
        if self._outlives:
            return
        self.end()
        if self._settled is not None:
            # It goes on if the caller leaves at this very moment.
            await asyncio.shield(self._settled)

    def use(self, usage: Usage | None) -> None:
        """Note what the request cost."""
        self.usage = usage

    @property
    def outlives_its_caller(self) -> bool:
        """Whether the caller has left and the request may still run."""
        return self._outlives

    def outlive(self) -> None:
        """Keep the place after the caller has left, until `end` is called."""
        self._outlives = not self._ended

    def end(self) -> None:
        """Give the place back and count what was used; only the first call does anything."""
        if not self._ended:
            self._ended = True
            self._settled = self._settle(self)


class Limits:
    """Lets requests in, within an `async with` that keeps their leases alive.

    `settle_now` does what the store's `settle` does, where that waits for nothing.
    """

    def __init__(
        self,
        store: LimitStore,
        rules: Callable[[], LimitRules],
        *,
        settle_now: Settle | None = None,
        renew_every_s: float = RENEW_EVERY_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._store = store
        self._settle_at_once = settle_now
        self._rules = rules
        self._renew_every_s = renew_every_s
        self._longest_s = longest_s
        self._running: dict[str, Admission] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Self:
        renewing = asyncio.create_task(forever("renew-leases", self._renew), name="renew-leases")
        self._life.push_async_callback(self._stop, renewing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._life.aclose()

    def admitted(self, person: Person, model: Model, *, request_id: str) -> Admission:
        """Let a request in for an `async with` block; entering it may raise `RateLimited`."""
        claim = Claim(lease=request_id, limits=self._rules().limits_of(person, model.id))
        return Admission(claim, take=self._take, settle=self._settle)

    async def count_batch_request(self, person: Person, *, request_id: str) -> None:
        """Count a request about files or batches, or raise `RateLimited`."""
        claim = Claim(lease=request_id, limits=self._rules().batch_limits_of(person))
        if not claim.limits:
            return
        verdict = await self._store.take(claim)
        if not verdict.granted:
            raise _refusal(claim, verdict)

    def body_sizes(self, person: Person) -> BodySizes:
        """Return how large a person's requests may be."""
        return self._rules().body_sizes_of(person)

    async def _stop(self, renewing: asyncio.Task[None]) -> None:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        if self._settling:
            await asyncio.wait(self._settling, timeout=FAREWELL_S)

    async def _take(self, admission: Admission) -> tuple[Standing, ...]:
        claim = admission.claim
        try:
            verdict = await self._store.take(claim)
        except asyncio.CancelledError:
            # The caller left; nobody can tell whether the places were taken.
            admission.end()
            raise
        if not verdict.granted:
            raise _refusal(claim, verdict)
        if claim.places:
            self._running[claim.lease] = admission
        return verdict.standings

    def _settle(self, admission: Admission) -> asyncio.Task[None] | None:
        claim = admission.claim
        self._running.pop(claim.lease, None)
        tokens = admission.usage.total_tokens if admission.usage else 0
        if not claim.is_settled_later or not (tokens or claim.places):
            return None
        if self._settle_at_once is not None:
            # A task, and waiting for it, would cost each request more than the counting.
            admission.standings = self._settle_at_once(claim, tokens)
            return None
        task = asyncio.create_task(self._settle_now(admission, tokens), name="settle")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def _settle_now(self, admission: Admission, tokens: int) -> None:
        admission.standings = await self._store.settle(admission.claim, tokens=tokens)

    async def _renew(self) -> None:
        """Keep the places of running requests, for ever."""
        while True:
            await asyncio.sleep(self._renew_every_s)
            oldest = time.monotonic() - self._longest_s
            running = {
                lease: admission
                for lease, admission in self._running.items()
                if admission.began_at > oldest or not admission.outlives_its_caller
            }
            self._running = running
            await self._store.renew([admission.claim for admission in running.values()])


def _refusal(claim: Claim, verdict: Verdict) -> errors.RateLimited:
    """Return the error about the limit that will be in the way the longest."""
    wait_s, limit = max(zip(verdict.waits_s, claim.limits, strict=True), key=lambda pair: pair[0])
    return errors.RateLimited(
        f"{_said(limit)} Try again in {math.ceil(wait_s)} s. "
        "If that is too little for your work, ask the operators.",
        retry_after_s=wait_s,
        measure=limit.measure,
        standings=verdict.standings,
    )


def _said(limit: Limit) -> str:
    """Return a sentence that tells somebody which limit is in the way."""
    of = {
        Scope.PERSON: "",
        Scope.KEY: " with one key",
        Scope.MODEL: f" to the model '{limit.subject}'",
        Scope.BATCHES: " about files and batches",
    }[limit.scope]
    if limit.measure is Measure.CONCURRENT:
        return f"Your limit on requests at once is reached: {limit.amount}{of}."
    return f"Your limit on {limit.measure} is used up: {limit.amount} per minute{of}."
