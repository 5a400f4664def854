"""What all worker processes know of tokens, in Redis."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from resource_server.adapters.redis.connection import NotAnswered, RedisLink

#: Whoever waits for another process's claim looks after so many seconds, and then ever more rarely.
FIRST_LOOK_S = 0.02
LAST_LOOK_S = 0.2

#: End a claim, unless its time was over and it is another's by now.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisGrants:
    """A `ports.GrantCache` for workers of one gateway, on one machine or on many.

    While Redis is away, or there are too many questions for it, it knows nothing, grants every
    claim and keeps nobody waiting: then each process asks for itself.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._release = link.client.register_script(_RELEASE)

    async def get(self, digest: bytes) -> bytes | None:
        """Return what was put last, unless its time is over or Redis does not say."""
        with suppress(NotAnswered):
            async with self._link.asked():
                content: bytes | None = await self._link.client.get(_grant(digest))
            return content
        return None

    async def put(self, digest: bytes, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for a time; lost while Redis is away."""
        with suppress(NotAnswered):
            async with self._link.asked():
                await self._link.client.set(_grant(digest), value, px=_ms(ttl_s))

    async def forget(self, digest: bytes) -> None:
        """Know nothing of a token any more."""
        with suppress(NotAnswered):
            async with self._link.asked():
                await self._link.client.delete(_grant(digest))

    async def claim(self, digest: bytes, *, ttl_s: float) -> str | None:
        """Return the name of the caller's claim to ask about a token; None if there is another."""
        name = secrets.token_hex(16)
        with suppress(NotAnswered):
            async with self._link.asked():
                taken = await self._link.client.set(_claim(digest), name, nx=True, px=_ms(ttl_s))
            return name if taken else None
        return name

    async def release(self, digest: bytes, claim: str) -> None:
        """End a claim; while Redis is away its time ends it."""
        with suppress(NotAnswered):
            async with self._link.asked():
                await self._release([_claim(digest)], [claim])

    async def wait(self, digest: bytes, *, timeout_s: float) -> None:
        """Return as soon as nobody claims the token, at the latest when the time is over."""
        with suppress(TimeoutError):  # whoever waits looks for itself then
            async with asyncio.timeout(timeout_s):
                pause_s = FIRST_LOOK_S
                while await self._claimed(digest):
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LAST_LOOK_S)

    async def _claimed(self, digest: bytes) -> bool:
        with suppress(NotAnswered):
            async with self._link.asked():
                return bool(await self._link.client.exists(_claim(digest)))
        return False


def _grant(digest: bytes) -> str:
    return f"hotnode:grant:{digest.hex()}"


def _claim(digest: bytes) -> str:
    return f"hotnode:grant-claim:{digest.hex()}"


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
