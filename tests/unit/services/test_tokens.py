from __future__ import annotations

import asyncio

import pytest

from resource_server.domain import errors
from resource_server.domain.identity import Grant, Identity, Person
from resource_server.services.tokens import OUTAGE_TTL_S, REFUSAL_TTL_S, Tokens

ALICE = Person(
    primary=Identity(id="1", username="alice@example.org", idp_id="i", idp_name="Example"),
    name="Alice",
    email="alice@example.org",
)


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
        self.gate = asyncio.Event()
        self.gate.set()
        self.lifetime_s = 172_800.0

    async def identify(self, token: str, *, known: bool = False) -> Grant:
        self.questions.append(token)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Grant(person=ALICE, expires_at=self.clock.now + self.lifetime_s)

    async def available(self) -> bool:
        return self.error is None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> ProviderThatCounts:
    return ProviderThatCounts(clock)


@pytest.fixture
def tokens(provider: ProviderThatCounts, clock: Clock) -> Tokens:
    return Tokens(provider, key=b"k" * 32, ttl_s=600, clock=clock, capacity=3)


async def test_a_verified_token_is_not_asked_about_again(tokens, provider, clock):
    assert await tokens.authenticate("t") == ALICE
    clock.now += 599
    assert await tokens.authenticate("t") == ALICE
    assert provider.questions == ["t"]


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


async def test_the_cache_forgets_the_oldest_beyond_its_capacity(tokens, provider):
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
