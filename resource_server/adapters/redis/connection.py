"""The connections to Redis, with a short patience for everything."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeout,
)

from resource_server.config import SettingInvalid

#: Seconds for one connection to be made.
CONNECT_S = 2.0
#: Seconds for one answer; and for a turn to ask, where nothing else is said.
CALL_S = 0.5
#: A connection that was idle for so many seconds is tried before it is used.
IDLE_S = 30
#: Connections of one link. A call takes about a millisecond, so few are ever in use.
CONNECTIONS = 32
#: A Redis that is away is asked again this often (seconds): not by every request, which would wait
#: for its timeout each time.
ASK_AGAIN_S = 1.0
#: The log says this often at the most that it is away (seconds), however often it comes and goes.
SAY_AGAIN_S = 60.0

Client: TypeAlias = redis.asyncio.Redis
log = logging.getLogger(__name__)


class NotAnswered(Exception):
    """There is no answer of Redis, whoever is to blame."""


class RedisAway(NotAnswered):
    """Redis did not answer, or not in time; what was asked may have been done."""


class RedisBusy(NotAnswered):
    """We ask so much that there was no turn in time; nothing was asked."""


class RedisLink:
    """What one part of a worker asks Redis through, with turns of its own.

    Parts that anybody can set in motion, and parts that must go on then, have links of their own.

    While Redis is away only one call in a while tries it, and the others fail at once. No call is
    ever repeated by itself: most of ours are not the same when done twice. Our own queue is no
    sign that Redis is away, and neither is a slow answer while others are answered: then it is
    this process that is slow.
    """

    def __init__(
        self,
        client: Client,
        *,
        use: str = "",
        turns: int = CONNECTIONS,
        turn_s: float = CALL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._use = use
        # As many as there are connections, so that nobody ever waits for one of these.
        self._turns = asyncio.Semaphore(turns)
        self._turn_s = turn_s
        self._clock = clock
        self._away_since: float | None = None
        self._answered_at = self._say_at = -math.inf
        self._ask_at = 0.0
        self._said = False

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[None]:
        """Raise `RedisAway` for whatever goes wrong with the client in the block, or at once.

        Raises `RedisBusy` if there is no turn in time.
        """
        self._refuse_while_away()
        try:
            async with asyncio.timeout(self._turn_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise RedisBusy(f"no turn within {self._turn_s} s") from error
        try:
            async with self._watched():
                yield
        finally:
            self._turns.release()

    async def available(self) -> bool:
        """Tell whether Redis answers right now; while we ask too much, whether it did lately."""
        try:
            async with self.asked():
                await self.client.exists("hotnode")
        except RedisAway:
            return False
        except RedisBusy:
            return self._away_since is None
        return True

    def _refuse_while_away(self) -> None:
        if self._away_since is not None and self._clock() < self._ask_at:
            raise RedisAway("it was away a moment ago")

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        # It may have gone while we waited for our turn.
        self._refuse_while_away()
        began = self._clock()
        # Only a call that begins while it is away can tell that it is back.
        tries = self._away_since is not None
        if tries:
            self._ask_at = began + ASK_AGAIN_S
        try:
            yield
        except (RedisError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            late = isinstance(error, RedisTimeout | TimeoutError)
            if not (late and self._answered_at >= began):
                self._note_away(reason)
            raise RedisAway(reason) from error
        self._answered_at = self._clock()
        if tries:
            self._note_back()

    def _note_away(self, reason: str) -> None:
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
            self._ask_at = now + ASK_AGAIN_S
        if now >= self._say_at:
            self._say_at = now + SAY_AGAIN_S
            self._said = True
            away_s = round(now - self._away_since, 1)
            log.error("redis_away", extra={"use": self._use, "reason": reason, "away_s": away_s})

    def _note_back(self) -> None:
        if self._away_since is None:
            return
        if self._said:
            away_s = round(self._clock() - self._away_since, 1)
            log.warning("redis_back", extra={"use": self._use, "away_s": away_s})
        self._away_since, self._said = None, False


@asynccontextmanager
async def open_redis(
    url: str, *, use: str = "", call_s: float = CALL_S, turn_s: float = CALL_S
) -> AsyncIterator[RedisLink]:
    """Open a link to the Redis at `url`; `use` is what the log and Redis' `CLIENT LIST` call it.

    A Redis that is away does not keep the gateway from starting. One that refuses our credentials
    or has no such database raises `SettingInvalid`, since it will go on doing so.
    """
    pool = _pool(url, call_s, name=f"hotnode-{use}" if use else "hotnode")
    client = redis.asyncio.Redis.from_pool(pool)
    try:
        link = RedisLink(client, use=use, turns=pool.max_connections, turn_s=turn_s)
        await _greet(link)
        yield link
    finally:
        await client.aclose()


def _pool(url: str, call_s: float, *, name: str) -> redis.asyncio.ConnectionPool:
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=CALL_S,
            socket_timeout=call_s,
            socket_connect_timeout=CONNECT_S,
            health_check_interval=IDLE_S,
            retry=Retry(NoBackoff(), 0),
            client_name=name,
        )
        # Opens nothing; options that it does not know show here.
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):
        # The error's text repeats parts of the URL, which holds a password.
        raise SettingInvalid(
            "HOTNODE_REDIS_URL cannot be read by Redis' client: an option is not known, or the "
            "password holds one of : / ? # [ ] @ and is not percent-encoded"
        ) from None
    return pool


async def _greet(link: RedisLink) -> None:
    try:
        async with link.asked():
            await link.client.exists("hotnode")
    except RedisAway as away:
        if isinstance(away.__cause__, AuthenticationError | AuthorizationError | ResponseError):
            raise SettingInvalid(f"HOTNODE_REDIS_URL: Redis refuses us: {away}") from away
