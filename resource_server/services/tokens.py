"""Whose token it is: answered from memory where possible, and asked once however many wait."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from resource_server.domain import errors
from resource_server.domain.identity import Grant, Person
from resource_server.ports import IdentityProvider

#: A refused token is asked about again after this many seconds at the latest (section 7).
REFUSAL_TTL_S = 30.0
#: While Globus is down, a grant counts for this long after it was verified (seconds; section 7).
OUTAGE_TTL_S = 3600.0
#: While Globus is down, it is asked about a known token this often at the most (seconds).
OUTAGE_RETRY_S = 10.0
#: So many refusals are remembered at the most.
REFUSALS_KEPT = 10_000
#: So many new tokens are checked at once at the most; further ones are told to come back.
ASKING_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What is known of one token: a grant or a refusal, when it was learnt, and how long it serves.

    Times are seconds since the epoch.
    """

    learnt_at: float
    fresh_until: float
    grant: Grant | None = None
    refusal: errors.HotnodeError | None = None


class Tokens:
    """Authenticates bearer tokens.

    The cache is keyed by an HMAC, so a token itself is never kept. A grant serves for `ttl_s` and
    never past the token's expiry. Concurrent requests with one token cause one question to
    Globus. While Globus is down, what was verified within the last hour still serves.
    """

    def __init__(
        self,
        provider: IdentityProvider,
        *,
        key: bytes,
        ttl_s: float,
        capacity: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._key = key
        self._ttl_s = ttl_s
        self._clock = clock
        # Apart, so that refusals of tokens that anybody can invent push out no grant.
        self._grants = _Entries(capacity)
        self._refusals = _Entries(REFUSALS_KEPT)
        self._asking: dict[bytes, asyncio.Task[_Entry]] = {}

    async def authenticate(self, token: str) -> Person:
        """Return the holder of `token`, or raise what `IdentityProvider.identify` raises."""
        digest = hmac.digest(self._key, token.encode(), hashlib.sha256)
        entry = self._grants.get(digest) or self._refusals.get(digest)
        if entry is None or entry.fresh_until <= self._clock():
            entry = await self._ask_once(digest, token)
        if entry.refusal is not None:
            raise copy.copy(entry.refusal)
        if entry.grant is None or entry.grant.expires_at <= self._clock():
            raise errors.Unauthenticated(EXPIRED)
        return entry.grant.person

    async def _ask_once(self, digest: bytes, token: str) -> _Entry:
        """Join the question that is already under way for this token, or start it.

        The question is a task of its own: a caller who leaves does not cancel it for the others.
        """
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= ASKING_AT_ONCE and self._grants.get(digest) is None:
                raise errors.IdentityServiceBusy
            task = asyncio.create_task(self._ask(digest, token), name="introspect")
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, token: str) -> _Entry:
        now = self._clock()
        known = self._grants.get(digest)
        try:
            grant = await self._provider.identify(token, known=known is not None)
        except errors.CallerError as refusal:
            self._grants.forget(digest)
            fresh_until = now + min(REFUSAL_TTL_S, self._ttl_s)
            entry = _Entry(learnt_at=now, fresh_until=fresh_until, refusal=refusal)
            return self._refusals.keep(digest, entry)
        except errors.IdentityServiceUnavailable as outage:
            return self._during_outage(digest, known, outage)
        except errors.UpstreamError as problem:
            return _Entry(learnt_at=now, fresh_until=now, refusal=problem)
        self._refusals.forget(digest)
        fresh_until = min(now + self._ttl_s, grant.expires_at)
        entry = _Entry(learnt_at=now, fresh_until=fresh_until, grant=grant)
        return self._grants.keep(digest, entry)

    def _during_outage(
        self, digest: bytes, known: _Entry | None, outage: errors.IdentityServiceUnavailable
    ) -> _Entry:
        """Let what was verified lately serve a little longer; otherwise say that nobody answers."""
        now = self._clock()
        if known and now < known.learnt_at + OUTAGE_TTL_S:
            return self._grants.keep(digest, replace(known, fresh_until=now + OUTAGE_RETRY_S))
        return _Entry(learnt_at=now, fresh_until=now, refusal=outage)


class _Entries:
    """What is known of tokens, by digest; beyond its capacity the least recently used goes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def get(self, digest: bytes) -> _Entry | None:
        """Return what is known of a token, if anything."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
        return entry

    def keep(self, digest: bytes, entry: _Entry) -> _Entry:
        """Remember and return `entry`."""
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return entry

    def forget(self, digest: bytes) -> None:
        """Know nothing of a token any more."""
        self._entries.pop(digest, None)


EXPIRED = (
    "Your access token has expired. Get a new one: "
    "python inference_auth_token.py get_access_token; if that fails, log out at "
    "https://app.globus.org/logout and run: python inference_auth_token.py authenticate --force"
)
