from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.domain import errors
from resource_server.domain.catalog import AccessRule, Catalog, LoginPolicy
from resource_server.domain.identity import (
    Authentication,
    Evaluations,
    Grant,
    Identity,
    Person,
)
from resource_server.services.entrance import Entrance
from resource_server.services.tokens import OUTAGE_RETRY_S, OUTAGE_TTL_S, REFUSAL_TTL_S, Tokens
from tests.support.catalogs import cluster

LOGGED_IN_AT = 1_000_000.0
ALICE = Person(
    primary=Identity(
        id="1",
        username="alice@example.org",
        idp_id="i",
        idp_name="Example",
        authentication=Authentication(at=LOGGED_IN_AT),
    ),
    name="Alice",
    email="alice@example.org",
)


class Book:
    """A catalog that a test turns the pages of."""

    def __init__(self) -> None:
        self.page = Catalog()

    def __call__(self) -> Catalog:
        return self.page


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class ProviderThatCounts:
    """Knows one person, counts the questions, and can be away, slow or strict."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.questions: list[str] = []
        self.error: errors.HotnodeError | None = None
        self.error_once: errors.HotnodeError | None = None
        self.gate = asyncio.Event()
        self.was_asked = asyncio.Event()
        self.gate.set()
        self.lifetime_s = 172_800.0
        self.person = ALICE
        self.asked: list[frozenset[str]] = []

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        self.questions.append(token)
        self.was_asked.set()
        self.asked.append(policies)
        await self.gate.wait()
        if self.error_once is not None:
            error, self.error_once = self.error_once, None
            raise error
        if self.error is not None:
            raise self.error
        evaluated = Evaluations(asked=policies, met=policies)
        person = replace(self.person, policies=evaluated)
        return Grant(person=person, expires_at=self.clock.now + self.lifetime_s)

    async def available(self) -> bool:
        return self.error is None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> ProviderThatCounts:
    return ProviderThatCounts(clock)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def make(provider: ProviderThatCounts, clock: Clock, book: Book):
    def tokens(rule: AccessRule = AccessRule(), **parts) -> Tokens:  # noqa: B008 - it never changes
        values: dict[str, Any] = {"cache": MemoryGrants(clock=clock), "capacity": 3} | parts
        return Tokens(
            provider,
            entrance=Entrance(rule, book),
            key=b"k" * 32,
            ttl_s=600,
            clock=clock,
            **values,
        )

    return tokens


@pytest.fixture
def tokens(make) -> Tokens:
    return make()


async def test_a_verified_token_is_not_asked_about_again(tokens, provider, clock):
    assert await tokens.authenticate("t") == ALICE
    clock.now += 599
    assert await tokens.authenticate("t") == ALICE
    assert provider.questions == ["t"]


@pytest.mark.row("U-28")
async def test_each_token_of_a_person_is_a_key_of_its_own_that_gives_nothing_away(tokens):
    first, again, other = [await tokens.authenticate(token) for token in ("t", "t", "u")]
    assert first.credential == again.credential
    assert len({first.credential, other.credential, ""}) == 3
    assert first.credential not in repr(first)


async def test_it_is_asked_about_again_after_its_time(tokens, provider, clock):
    await tokens.authenticate("t")
    clock.now += 601
    await tokens.authenticate("t")
    assert provider.questions == ["t", "t"]


async def test_concurrent_requests_with_one_token_ask_once(tokens, provider):
    provider.gate.clear()
    waiting = [asyncio.create_task(tokens.authenticate("t")) for _ in range(50)]
    await asyncio.sleep(0)
    provider.gate.set()
    assert await asyncio.gather(*waiting) == [ALICE] * 50
    assert provider.questions == ["t"]


async def test_a_caller_who_leaves_does_not_cancel_the_question_for_the_others(tokens, provider):
    provider.gate.clear()
    first, second = (asyncio.create_task(tokens.authenticate("t")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    provider.gate.set()
    assert await second == ALICE
    assert first.cancelled()
    assert provider.questions == ["t"]


async def test_a_grant_never_outlives_the_token(tokens, provider, clock):
    provider.lifetime_s = 100
    await tokens.authenticate("t")
    clock.now += 101
    provider.error = errors.Unauthenticated("no longer active")
    with pytest.raises(errors.Unauthenticated):
        await tokens.authenticate("t")
    assert provider.questions == ["t", "t"]


async def test_a_refusal_is_remembered_shortly(tokens, provider, clock):
    provider.error = errors.Unauthenticated("not active")
    for _ in range(2):
        with pytest.raises(errors.Unauthenticated, match="not active"):
            await tokens.authenticate("t")
    assert provider.questions == ["t"]
    clock.now += REFUSAL_TTL_S + 1
    provider.error = None
    assert await tokens.authenticate("t") == ALICE


async def test_during_an_outage_a_known_token_serves_for_an_hour(tokens, provider, clock):
    await tokens.authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += 601
    assert await tokens.authenticate("t") == ALICE
    clock.now += OUTAGE_TTL_S
    with pytest.raises(errors.IdentityServiceUnavailable):
        await tokens.authenticate("t")


async def test_during_an_outage_globus_is_not_asked_at_each_request(tokens, provider, clock):
    await tokens.authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += 601
    for _ in range(10):
        await tokens.authenticate("t")
    assert len(provider.questions) == 2


async def test_during_an_outage_an_expired_token_is_refused(tokens, provider, clock):
    provider.lifetime_s = 700
    await tokens.authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += 701
    with pytest.raises(errors.Unauthenticated, match="expired"):
        await tokens.authenticate("t")


async def test_during_an_outage_an_unknown_token_is_not_called_wrong(tokens, provider):
    provider.error = errors.IdentityServiceUnavailable()
    with pytest.raises(errors.IdentityServiceUnavailable):
        await tokens.authenticate("t")
    provider.error = None
    assert await tokens.authenticate("t") == ALICE


async def test_the_cache_forgets_the_oldest_beyond_its_capacity(make, provider, clock):
    tokens = make(cache=MemoryGrants(clock=clock, capacity=3))
    for token in "abcd":
        await tokens.authenticate(token)
    await tokens.authenticate("d")
    await tokens.authenticate("a")
    assert provider.questions == ["a", "b", "c", "d", "a"]


async def test_refusals_of_invented_tokens_push_out_no_grant(tokens, provider):
    await tokens.authenticate("good")
    provider.error = errors.Unauthenticated("not active")
    for number in range(10):
        with pytest.raises(errors.Unauthenticated):
            await tokens.authenticate(f"invented-{number}")
    assert await tokens.authenticate("good") == ALICE


async def test_our_own_congestion_lengthens_no_grant(tokens, provider, clock):
    await tokens.authenticate("t")
    provider.error = errors.IdentityServiceBusy()
    clock.now += 601
    with pytest.raises(errors.IdentityServiceBusy):
        await tokens.authenticate("t")


async def test_while_globus_throttles_us_a_known_token_serves_a_little_longer(
    tokens, provider, clock
):
    """Anybody can bring that about, so a revoked token must not serve for an hour."""
    await tokens.authenticate("t")
    provider.error = errors.IdentityServiceThrottled()
    clock.now += 601
    for _ in range(10):
        assert await tokens.authenticate("t") == ALICE
    assert len(provider.questions) == 2
    clock.now += 600
    with pytest.raises(errors.IdentityServiceThrottled):
        await tokens.authenticate("t")
    with pytest.raises(errors.IdentityServiceThrottled):
        await tokens.authenticate("new")


async def test_who_is_not_admitted_during_an_outage_does_not_ask_at_each_request(
    make, provider, clock
):
    tokens = make(AccessRule(groups=frozenset({"g"})))
    for _ in range(2):
        with pytest.raises(errors.Forbidden):
            await tokens.authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += 601
    for _ in range(10):
        with pytest.raises(errors.Forbidden):
            await tokens.authenticate("t")
    assert len(provider.questions) == 2
    clock.now += OUTAGE_RETRY_S
    with pytest.raises(errors.Forbidden):
        await tokens.authenticate("t")
    assert len(provider.questions) == 3


@pytest.mark.parametrize("bogus", ["", " ", "a b", "zoë", "x" * 2049, "token\n", "a\x00b", "==="])
async def test_what_can_be_no_token_is_asked_about_nowhere(make, provider, clock, bogus):
    class CacheThatMustNotBeAsked(MemoryGrants):
        """Fails the test when it is asked."""

        async def get(self, digest: bytes) -> bytes | None:
            raise AssertionError(digest)

    with pytest.raises(errors.Unauthenticated, match="no Globus access token"):
        await make(cache=CacheThatMustNotBeAsked()).authenticate(bogus)
    assert provider.questions == []


async def test_other_processes_wait_for_a_question_no_longer_than_they_are_told(make):
    class CacheThatRemembersTimes(MemoryGrants):
        """Claims belong to another process, and waiting takes no time."""

        times: tuple[float, ...] = ()

        async def claim(self, digest: bytes, *, ttl_s: float) -> str | None:
            self.times += (ttl_s,)
            return None

        async def wait(self, digest: bytes, *, timeout_s: float) -> None:
            self.times += (timeout_s,)

    cache = CacheThatRemembersTimes()
    assert await make(cache=cache, claim_ttl_s=4.5).authenticate("t") == ALICE
    assert cache.times == (4.5, 4.5)


async def test_an_invented_token_costs_the_shared_cache_no_more_than_it_must(make, provider, clock):
    class CacheThatCounts(MemoryGrants):
        """Remembers what it was told to forget."""

        forgotten = 0

        async def forget(self, digest: bytes) -> None:
            self.forgotten += 1
            await super().forget(digest)

    cache = CacheThatCounts(clock=clock)
    tokens = make(cache=cache)
    await tokens.authenticate("good")
    provider.error = errors.Unauthenticated("not active")
    with pytest.raises(errors.Unauthenticated):
        await tokens.authenticate("invented")
    assert cache.forgotten == 0
    clock.now += 601
    with pytest.raises(errors.Unauthenticated):
        await tokens.authenticate("good")
    assert cache.forgotten == 1


async def test_a_grant_that_is_refused_at_its_next_check_is_gone(tokens, provider, clock):
    await tokens.authenticate("t")
    clock.now += 601
    provider.error = errors.Unauthenticated("revoked")
    with pytest.raises(errors.Unauthenticated, match="revoked"):
        await tokens.authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += REFUSAL_TTL_S + 1
    with pytest.raises(errors.IdentityServiceUnavailable):
        await tokens.authenticate("t")


async def test_too_many_new_tokens_at_once_are_told_to_come_back(tokens, provider, monkeypatch):
    await tokens.authenticate("known")
    monkeypatch.setattr("resource_server.services.tokens.ASKING_AT_ONCE", 2)
    provider.gate.clear()
    waiting = [asyncio.create_task(tokens.authenticate(name)) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(errors.IdentityServiceBusy):
        await tokens.authenticate("c")
    assert await tokens.authenticate("known") == ALICE
    provider.gate.set()
    assert await asyncio.gather(*waiting) == [ALICE] * 2


async def test_a_refusal_keeps_when_to_come_back(tokens, provider):
    provider.error = errors.IdentityServiceUnavailable()
    provider.error.retry_after_s = 45
    with pytest.raises(errors.IdentityServiceUnavailable) as refused:
        await tokens.authenticate("t")
    assert refused.value.retry_after_s == 45


# One service rule, and policies that clusters name.


def by_policy(id_: str, max_age_s: float | None = None) -> AccessRule:
    return AccessRule(policies=(LoginPolicy(id=id_, max_age_s=max_age_s),))


async def test_a_login_is_held_against_every_policy_that_anything_names(make, provider, book):
    book.page = Catalog([cluster(access=by_policy("p2"))])
    await make(by_policy("p1")).authenticate("t")
    assert provider.asked == [{"p1", "p2"}]


async def test_a_policy_new_in_the_catalog_causes_one_question_and_no_refusal(
    tokens, provider, book
):
    await tokens.authenticate("t")
    book.page = Catalog([cluster(access=by_policy("p"))])
    for _ in range(3):
        person = await tokens.authenticate("t")
    assert person.policies.met == {"p"}
    assert provider.asked == [frozenset(), {"p"}]


async def test_a_policy_that_nothing_names_any_more_causes_no_question(tokens, provider, book):
    book.page = Catalog([cluster(access=by_policy("p"))])
    await tokens.authenticate("t")
    book.page = Catalog()
    await tokens.authenticate("t")
    assert len(provider.asked) == 1


async def test_during_an_outage_a_new_policy_does_not_cause_a_question_at_each_request(
    tokens, provider, book
):
    await tokens.authenticate("t")
    book.page = Catalog([cluster(access=by_policy("p"))])
    provider.error = errors.IdentityServiceUnavailable()
    for _ in range(5):
        assert (await tokens.authenticate("t")).policies.asked == frozenset()
    assert len(provider.questions) == 2


@pytest.mark.row("C-18")
@pytest.mark.row("C-19")
async def test_a_login_stops_counting_when_it_grows_too_old_and_not_when_it_is_asked_next(
    make, provider, clock
):
    tokens = make(by_policy("p", max_age_s=300))
    assert await tokens.authenticate("t") == replace(
        ALICE, policies=Evaluations(asked=frozenset({"p"}), met=frozenset({"p"}))
    )
    clock.now = LOGGED_IN_AT + 299
    assert (await tokens.authenticate("t")).as_of == clock.now
    clock.now = LOGGED_IN_AT + 300
    with pytest.raises(errors.ReauthenticationRequired, match="authenticate --force"):
        await tokens.authenticate("t")
    assert provider.questions == ["t"]


async def test_a_refused_person_is_named_and_asked_about_again_soon(make, provider, clock):
    tokens = make(AccessRule(groups=frozenset({"g"})))
    for _ in range(2):
        with pytest.raises(errors.Forbidden) as refused:
            await tokens.authenticate("t")
    assert refused.value.person == ALICE
    assert provider.questions == ["t"]
    provider.person = replace(ALICE, groups=frozenset({"g"}))
    clock.now += REFUSAL_TTL_S + 1
    assert (await tokens.authenticate("t")).groups == {"g"}
    assert provider.questions == ["t", "t"]


# Several processes, which share a cache.


async def test_two_processes_ask_once_about_each_of_five_hundred_new_tokens(make, provider, clock):
    cache = MemoryGrants(clock=clock)
    processes = [make(cache=cache, capacity=1000) for _ in range(2)]
    provider.gate.clear()
    waiting = [
        asyncio.create_task(process.authenticate(f"t{number}"))
        for number in range(500)
        for process in processes
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    provider.gate.set()
    assert await asyncio.gather(*waiting) == [ALICE] * 1000
    assert len(provider.questions) == 500


async def test_what_one_process_has_learnt_another_need_not_ask(make, provider, clock):
    cache = MemoryGrants(clock=clock)
    first, second = make(cache=cache), make(cache=cache)
    await first.authenticate("t")
    clock.now += 599
    assert await second.authenticate("t") == ALICE
    assert provider.questions == ["t"]


@pytest.mark.row("C-17")
async def test_a_revocation_is_effective_everywhere_within_the_time_of_one_cache(
    make, provider, clock
):
    cache = MemoryGrants(clock=clock)
    first, second = make(cache=cache), make(cache=cache)
    await first.authenticate("t")
    clock.now += 590
    await second.authenticate("t")
    provider.error = errors.Unauthenticated("revoked")
    clock.now += 11
    for process in (second, first):
        with pytest.raises(errors.Unauthenticated, match="revoked"):
            await process.authenticate("t")


async def test_what_a_process_finds_revoked_no_other_takes_from_the_cache(make, provider, clock):
    cache = MemoryGrants(clock=clock)
    await make(cache=cache).authenticate("t")
    provider.error = errors.Unauthenticated("revoked")
    clock.now += 601
    with pytest.raises(errors.Unauthenticated):
        await make(cache=cache).authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    with pytest.raises(errors.IdentityServiceUnavailable):
        await make(cache=cache).authenticate("t")


async def test_during_an_outage_a_new_process_serves_what_others_learnt_for_an_hour(
    make, provider, clock
):
    cache = MemoryGrants(clock=clock)
    await make(cache=cache).authenticate("t")
    provider.error = errors.IdentityServiceUnavailable()
    clock.now += OUTAGE_TTL_S - 1
    assert await make(cache=cache).authenticate("t") == ALICE
    clock.now += 2
    with pytest.raises(errors.IdentityServiceUnavailable):
        await make(cache=cache).authenticate("t")


async def test_a_process_asks_itself_when_the_one_that_asks_fails(make, provider, clock):
    cache = MemoryGrants(clock=clock)
    first, second = make(cache=cache), make(cache=cache)
    provider.gate.clear()
    provider.error_once = errors.IdentityServiceBusy()
    one = asyncio.create_task(first.authenticate("t"))
    await provider.was_asked.wait()
    two = asyncio.create_task(second.authenticate("t"))
    await asyncio.sleep(0)
    provider.gate.set()
    with pytest.raises(errors.IdentityServiceBusy):
        await one
    assert await two == ALICE


async def test_who_is_not_admitted_in_one_process_is_looked_at_again_in_all(make, provider, clock):
    cache = MemoryGrants(clock=clock)
    rule = AccessRule(groups=frozenset({"g"}))
    first, second = make(rule, cache=cache), make(rule, cache=cache)
    for process in (first, second):
        with pytest.raises(errors.Forbidden):
            await process.authenticate("t")
    assert provider.questions == ["t"]
    provider.person = replace(ALICE, groups=frozenset({"g"}))
    clock.now += REFUSAL_TTL_S + 1
    for process in (first, second):
        assert (await process.authenticate("t")).groups == {"g"}
    assert provider.questions == ["t", "t"]


async def test_the_shared_cache_holds_no_token(make, clock):
    class CacheThatTells(MemoryGrants):
        """Remembers everything that it was given."""

        given: bytes = b""

        async def put(self, digest: bytes, value: bytes, *, ttl_s: float) -> None:
            self.given += digest + value
            await super().put(digest, value, ttl_s=ttl_s)

    cache = CacheThatTells(clock=clock)
    await make(cache=cache).authenticate("a-very-secret-token")
    assert cache.given
    assert b"a-very-secret-token" not in cache.given


async def test_a_token_that_expires_while_it_is_asked_about_is_refused_and_not_shared(
    make, provider, clock
):
    cache = MemoryGrants(clock=clock)
    provider.lifetime_s = 0
    with pytest.raises(errors.Unauthenticated, match="expired"):
        await make(cache=cache).authenticate("t")
    provider.lifetime_s = 100
    assert await make(cache=cache).authenticate("t") == ALICE
    assert provider.questions == ["t", "t"]
