"""What is known of tokens, for a gateway of one process."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    content: bytes
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    until: float
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    over: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryGrants:
    """Keeps `ports.GrantCache`'s promises within one process.

    Beyond its capacity the value that was used longest ago goes.
    """

    def __init__(
        self, *, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._values: OrderedDict[bytes, _Value] = OrderedDict()
        self._claims: dict[bytes, _Claim] = {}

    async def get(self, digest: bytes) -> bytes | None:
        """Return what was put last, unless its time is over."""
        value = self._values.get(digest)
        if value is None:
            return None
        if value.until <= self._clock():
            del self._values[digest]
            return None
        self._values.move_to_end(digest)
        return value.content

    async def put(self, digest: bytes, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for a time."""
        self._values[digest] = _Value(content=value, until=self._clock() + ttl_s)
        self._values.move_to_end(digest)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)

    async def forget(self, digest: bytes) -> None:
        """Know nothing of a token any more."""
        self._values.pop(digest, None)

    async def claim(self, digest: bytes, *, ttl_s: float) -> str | None:
        """Return the name of the caller's claim to ask about a token; None if there is another."""
        if self._claimed(digest) is not None:
            return None
        claim = self._claims[digest] = _Claim(until=self._clock() + ttl_s)
        return claim.name

    async def release(self, digest: bytes, claim: str) -> None:
        """End a claim, unless its time was over and there is another by now."""
        held = self._claims.get(digest)
        if held is not None and held.name == claim:
            del self._claims[digest]
            held.over.set()

    async def wait(self, digest: bytes, *, timeout_s: float) -> None:
        """Return as soon as nobody claims the token, at the latest when the time is over."""
        claim = self._claimed(digest)
        if claim is None:
            return
        left_s = min(timeout_s, claim.until - self._clock())
        with suppress(TimeoutError):  # whoever waits looks for itself then
            async with asyncio.timeout(left_s):
                await claim.over.wait()

    def _claimed(self, digest: bytes) -> _Claim | None:
        claim = self._claims.get(digest)
        return claim if claim is not None and self._clock() < claim.until else None
