"""Limits counted in Redis, for all workers together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from redis.commands.core import AsyncScript

from resource_server.adapters.redis import limit_scripts
from resource_server.adapters.redis.connection import RedisAway, RedisBusy, RedisLink
from resource_server.domain import errors
from resource_server.domain.limits import (
    LEASE_S,
    PLACE_WAIT_S,
    Claim,
    Limit,
    Scope,
    Standing,
    Verdict,
)

_US = 1_000_000
#: How many numbers a script says of each limit.
_NUMBERS = 3


class RedisLimitStore:
    """A `ports.LimitStore` in Redis.

    Each key expires when it says no more than its absence. Nobody's name is in them: ids, and
    digests of keys.
    """

    def __init__(self, link: RedisLink, *, lease_s: float = LEASE_S) -> None:
        self._link = link
        self._lease_us = round(lease_s * _US)
        self._take = link.client.register_script(limit_scripts.TAKE)
        self._settle = link.client.register_script(limit_scripts.SETTLE)
        self._renew = link.client.register_script(limit_scripts.RENEW)

    async def take(self, claim: Claim) -> Verdict:
        """Take from every limit or from none; see `ports.LimitStore`."""
        said = await self._run(self._take, claim)
        return Verdict(
            standings=_standings(claim, said),
            waits_s=tuple(_wait_s(number) for number in said[2::_NUMBERS]),
        )

    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        """Give places back and charge tokens; see `ports.LimitStore`."""
        return _standings(claim, await self._run(self._settle, claim, tokens=tokens))

    async def renew(self, claims: Collection[Claim]) -> None:
        """Begin leases anew; see `ports.LimitStore`."""
        if not claims:
            return
        async with self._asked(), self._link.client.pipeline(transaction=False) as pipeline:
            for claim in claims:
                places = Claim(lease=claim.lease, limits=claim.places)
                await self._renew(_keys(places), self._arguments(places), client=pipeline)
            await pipeline.execute()

    async def _run(self, script: AsyncScript, claim: Claim, *, tokens: int = 0) -> list[int]:
        async with self._asked():
            said: list[int] = await script(_keys(claim), self._arguments(claim, tokens))
        return said

    def _arguments(self, claim: Claim, tokens: int = 0) -> list[str | int]:
        arguments: list[str | int] = [claim.lease, self._lease_us, tokens]
        for limit in claim.limits:
            arguments += (limit.measure.value, limit.amount)
        return arguments

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        try:
            async with self._link.asked():
                yield
        except RedisBusy as busy:
            raise errors.LimitStoreBusy from busy
        except RedisAway as away:
            raise errors.LimitStoreUnavailable(str(away)) from away


def _keys(claim: Claim) -> list[str]:
    return [_key(limit) for limit in claim.limits]


def _key(limit: Limit) -> str:
    key = f"hotnode:limits:{{{limit.owner}}}:{limit.measure}"
    return key if limit.scope is Scope.PERSON else f"{key}:{limit.scope}:{limit.subject}"


def _standings(claim: Claim, said: list[int]) -> tuple[Standing, ...]:
    return tuple(
        limit.standing(remaining=remaining, reset_s=reset_us / _US)
        for limit, remaining, reset_us in zip(
            claim.limits, said[::_NUMBERS], said[1::_NUMBERS], strict=True
        )
    )


def _wait_s(us: int) -> float:
    return us / _US if us >= 0 else PLACE_WAIT_S
