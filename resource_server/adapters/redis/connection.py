"""The connections to Redis, with a short patience for everything."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from resource_server.config import SettingInvalid

#: Seconds for one connection to be made.
CONNECT_S = 2.0
#: Seconds for one answer, and for a free connection.
CALL_S = 0.5
#: A connection that was idle for so many seconds is tried before it is used.
IDLE_S = 30
#: Connections of one worker. A call takes about a millisecond, so few are ever in use.
CONNECTIONS = 32
#: A Redis that is away is asked again this often (seconds): not by every request, which would wait
#: for its timeout each time.
ASK_AGAIN_S = 1.0
#: While it is away, the log says so this often (seconds).
SAY_AGAIN_S = 60.0

Client: TypeAlias = redis.asyncio.Redis
log = logging.getLogger(__name__)


class RedisAway(Exception):
    """Redis did not answer, or not in time; what was asked may have been done."""


class RedisLink:
    """What everything of a worker that needs Redis asks it through.

    While Redis is away only one call in a while tries it, and the others fail at once. No call is
    ever repeated by itself: most of ours are not the same when done twice.
    """

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self._clock = clock
        self._away_since: float | None = None
        self._ask_at = self._say_at = 0.0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Raise `RedisAway` for whatever goes wrong with the client in the block, or at once."""
        if self._away_since is not None:
            now = self._clock()
            if now < self._ask_at:
                raise RedisAway("it was away a moment ago")
            self._ask_at = now + ASK_AGAIN_S
        try:
            yield
        except (RedisError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            self._note_away(reason)
            raise RedisAway(reason) from error
        self._note_back()

    async def available(self) -> bool:
        """Tell whether Redis answers right now."""
        try:
            with self.asked():
                await self.client.exists("hotnode")
        except RedisAway:
            return False
        return True

    def _note_away(self, reason: str) -> None:
        now = self._clock()
        if self._away_since is None:
            self._away_since = self._say_at = now
            self._ask_at = now + ASK_AGAIN_S
        if now >= self._say_at:
            self._say_at = now + SAY_AGAIN_S
            away_s = round(now - self._away_since, 1)
            log.error("redis_away", extra={"reason": reason, "away_s": away_s})

    def _note_back(self) -> None:
        if self._away_since is not None:
            away_s = round(self._clock() - self._away_since, 1)
            log.warning("redis_back", extra={"away_s": away_s})
            self._away_since = None


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[RedisLink]:
    """Open the way to the Redis at `url`.

    A Redis that is away does not keep the gateway from starting. One that refuses our credentials
    or has no such database raises `SettingInvalid`, since it will go on doing so.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=CALL_S,
        socket_timeout=CALL_S,
        socket_connect_timeout=CONNECT_S,
        health_check_interval=IDLE_S,
        retry=Retry(NoBackoff(), 0),
        client_name="hotnode",
    )
    client = redis.asyncio.Redis.from_pool(pool)
    try:
        link = RedisLink(client)
        await _greet(link)
        yield link
    finally:
        await client.aclose()


async def _greet(link: RedisLink) -> None:
    try:
        with link.asked():
            await link.client.exists("hotnode")
    except RedisAway as away:
        if isinstance(away.__cause__, AuthenticationError | AuthorizationError | ResponseError):
            raise SettingInvalid(f"HOTNODE_REDIS_URL: Redis refuses us: {away}") from away
