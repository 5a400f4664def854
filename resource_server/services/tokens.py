"""Whose token it is: answered from memory where possible, and asked once however many wait."""

from __future__ import annotations

import asyncio
import copy
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from resource_server.domain import errors
from resource_server.domain.identity import Grant, Person
from resource_server.ports import GrantCache, IdentityProvider
from resource_server.services.entrance import Entrance
from resource_server.services.sealed_grants import Seal, VerifiedGrant

# docs/operators/who-gets-in.md, "How soon a change is effective", tells operators of these two.
#: A refused token is asked about again after this many seconds at the latest.
REFUSAL_TTL_S = 30.0
#: While Globus is down, a grant counts for this long after it was verified (seconds).
OUTAGE_TTL_S = 3600.0
#: While Globus is down or throttles us, or has just said what keeps somebody out, it is asked about
#: a known token this often at the most (seconds).
OUTAGE_RETRY_S = 10.0
#: So many refusals are remembered at the most.
REFUSALS_KEPT = 10_000
#: So many new tokens are checked at once at the most; further ones are told to come back.
ASKING_AT_ONCE = 2_000
#: A process that asks about a token keeps the others from asking for this long (seconds), unless
#: the composition root says otherwise: a little longer than Globus may take for an answer.
CLAIM_TTL_S = 12.0
#: What RFC 6750 lets a bearer token be. Globus' tokens are about a hundred characters long.
_FORM = re.compile(r"[A-Za-z0-9._~+/-]{1,2048}={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What is known of one token: a grant or a refusal, when it was learnt, and how long it serves.

    Times are seconds since the epoch. `policies` are those that were asked about.
    """

    learnt_at: float
    fresh_until: float
    policies: frozenset[str] = frozenset()
    grant: Grant | None = None
    refusal: errors.HotnodeError | None = None

    def serves(self, policies: frozenset[str], now: float) -> bool:
        """Tell whether nothing has to be asked; a refusal is one whatever the policies."""
        return now < self.fresh_until and (self.grant is None or policies <= self.policies)


class Tokens:
    """Authenticates bearer tokens, and lets in whom the entrance lets in.

    Caches are keyed by an HMAC, so a token itself is never kept. A grant serves for `ttl_s` after
    Globus confirmed it, in whichever process, and never past the token's expiry. Concurrent
    requests with one token cause one question to Globus, also when several processes share the
    cache. While Globus is down, what was verified within the last hour still serves. While it only
    throttles us, a grant serves for twice `ttl_s`: anybody can bring that about, so it must not
    let tokens that were revoked serve for an hour, nor shut everybody out at once.

    Deadlines of logins are looked at with every request: a login that grows too old stops counting
    at that moment, and not when the token is asked about next. A policy that the catalog has
    named since a grant was verified causes a question, and not a refusal.
    """

    def __init__(  # noqa: PLR0913 - all but one by name
        self,
        provider: IdentityProvider,
        *,
        entrance: Entrance,
        cache: GrantCache,
        key: bytes,
        ttl_s: float,
        claim_ttl_s: float = CLAIM_TTL_S,
        capacity: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._entrance = entrance
        self._cache = cache
        derived = hmac.digest(key, b"digest of tokens", "sha256")
        # Copied for each token: preparing one costs twice as much as the token itself.
        self._mac = hmac.new(derived, digestmod="sha256")
        self._seal = Seal(key)
        self._ttl_s = ttl_s
        self._claim_ttl_s = claim_ttl_s
        self._clock = clock
        # Apart, so that refusals of tokens that anybody can invent push out no grant.
        self._grants = _Entries(capacity)
        self._refusals = _Entries(REFUSALS_KEPT)
        self._asking: dict[bytes, asyncio.Task[_Entry]] = {}

    async def authenticate(self, token: str) -> Person:
        """Return the holder of `token`, whom the service admits.

        Raises what `IdentityProvider.identify` and `Entrance.require` raise; `error.person` is
        the holder where the token is good and its holder is not admitted.
        """
        if not _FORM.fullmatch(token):
            raise errors.Unauthenticated(NOT_A_TOKEN)
        digest = self._digest(token)
        entry = self._grants.get(digest) or self._refusals.get(digest)
        if entry is None or not entry.serves(self._entrance.policies(), self._clock()):
            entry = await self._ask_once(digest, token)
        person = self._person(digest, entry)
        try:
            self._entrance.require(person)
        except errors.HotnodeError as refusal:
            self._look_again_soon(digest, entry)
            refusal.person = person
            raise
        return person

    def _digest(self, token: str) -> bytes:
        mac = self._mac.copy()
        mac.update(token.encode())
        return mac.digest()

    def _person(self, digest: bytes, entry: _Entry) -> Person:
        """Return the holder as of now, or raise why there is none."""
        if entry.refusal is not None:
            raise copy.copy(entry.refusal)
        now = self._clock()
        if entry.grant is None or entry.grant.expires_at <= now:
            raise errors.Unauthenticated(EXPIRED)
        return replace(entry.grant.person, as_of=now, credential=digest.hex())

    def _look_again_soon(self, digest: bytes, entry: _Entry) -> None:
        """Do not hold it against people for long that they were not admitted.

        They may join the group, or renew the login of the session that the token belongs to. Yet
        what was learnt long ago must not make each of their requests a question to Globus.
        """
        soon = max(entry.learnt_at + REFUSAL_TTL_S, self._clock() + OUTAGE_RETRY_S)
        if entry.fresh_until > soon:
            self._grants.keep(digest, replace(entry, fresh_until=soon))

    async def _ask_once(self, digest: bytes, token: str) -> _Entry:
        """Join the question that is already under way for this token, or start it.

        The question is a task of its own: a caller who leaves does not cancel it for the others.
        """
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= ASKING_AT_ONCE and self._grants.get(digest) is None:
                raise errors.IdentityServiceBusy
            task = asyncio.create_task(self._learn(digest, token), name="introspect")
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def _learn(self, digest: bytes, token: str) -> _Entry:
        """Return what another process has learnt or is about to learn, or else ask."""
        policies = self._entrance.policies()
        if entry := await self._shared(digest, policies):
            return entry
        claim = await self._cache.claim(digest, ttl_s=self._claim_ttl_s)
        if claim is None:
            await self._cache.wait(digest, timeout_s=self._claim_ttl_s)
        try:
            # Also with a claim: it may have been released between the look and the claim.
            return await self._shared(digest, policies) or await self._ask(digest, token, policies)
        finally:
            if claim is not None:
                await self._cache.release(digest, claim)

    async def _shared(self, digest: bytes, policies: frozenset[str]) -> _Entry | None:
        """Return what the processes know together, if it still serves or is of use in an outage."""
        verified = self._seal.open(digest, await self._cache.get(digest))
        if verified is None:
            return None
        entry = self._entry(verified)
        now = self._clock()
        known = self._grants.get(digest)
        # What was cut short here, because its holder was not admitted, is not good again there.
        if known is not None and entry.learnt_at <= known.learnt_at:
            return None
        self._grants.keep(digest, entry)
        return entry if entry.serves(policies, now) else None

    def _entry(self, verified: VerifiedGrant) -> _Entry:
        return _Entry(
            learnt_at=verified.verified_at,
            fresh_until=min(verified.verified_at + self._ttl_s, verified.grant.expires_at),
            policies=verified.policies,
            grant=verified.grant,
        )

    async def _ask(self, digest: bytes, token: str, policies: frozenset[str]) -> _Entry:
        now = self._clock()
        known = self._grants.get(digest)
        try:
            grant = await self._provider.identify(token, known=known is not None, policies=policies)
        except errors.CallerError as refusal:
            if known is not None:
                # Of a token that was never good, the cache holds nothing either.
                self._grants.forget(digest)
                await self._cache.forget(digest)
            fresh_until = now + min(REFUSAL_TTL_S, self._ttl_s)
            entry = _Entry(learnt_at=now, fresh_until=fresh_until, refusal=refusal)
            return self._refusals.keep(digest, entry)
        except errors.IdentityServiceUnavailable as outage:
            return self._meanwhile(digest, policies, refusal=outage, ttl_s=OUTAGE_TTL_S)
        except errors.IdentityServiceThrottled as refusal:
            ttl_s = min(2 * self._ttl_s, OUTAGE_TTL_S)
            return self._meanwhile(digest, policies, refusal=refusal, ttl_s=ttl_s)
        except errors.UpstreamError as problem:
            return _Entry(learnt_at=now, fresh_until=now, refusal=problem)
        self._refusals.forget(digest)
        verified = VerifiedGrant(grant=grant, verified_at=now, policies=policies)
        await self._share(digest, verified)
        return self._grants.keep(digest, self._entry(verified))

    async def _share(self, digest: bytes, verified: VerifiedGrant) -> None:
        # For as long as it may be of use in an outage.
        ttl_s = min(OUTAGE_TTL_S, verified.grant.expires_at - verified.verified_at)
        if ttl_s > 0:
            await self._cache.put(digest, self._seal.close(digest, verified), ttl_s=ttl_s)

    def _meanwhile(
        self,
        digest: bytes,
        policies: frozenset[str],
        *,
        refusal: errors.UpstreamError,
        ttl_s: float,
    ) -> _Entry:
        """Let what was verified within `ttl_s` serve a little longer; otherwise refuse."""
        now = self._clock()
        known = self._grants.get(digest)
        if known and now < known.learnt_at + ttl_s:
            # Policies that nobody could be asked about are not met; all else goes on.
            served = replace(known, fresh_until=now + OUTAGE_RETRY_S, policies=policies)
            return self._grants.keep(digest, served)
        return _Entry(learnt_at=now, fresh_until=now, refusal=refusal)


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


_RENEWAL = (
    "Get a new one: python inference_auth_token.py get_access_token; if that fails, log out at "
    "https://app.globus.org/logout and run: python inference_auth_token.py authenticate --force"
)
EXPIRED = f"Your access token has expired. {_RENEWAL}"
NOT_A_TOKEN = f"The Authorization header holds no Globus access token. {_RENEWAL}"
