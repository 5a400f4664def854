from __future__ import annotations

from collections.abc import Collection

import pytest
from typing_extensions import override

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.domain import errors
from resource_server.domain.limits import Claim, Limit, Measure, Standing, Verdict
from resource_server.services.shared_limits import SharedLimits

REQUESTS = Limit(measure=Measure.REQUESTS, amount=100, owner="alice")
PLACE = Limit(measure=Measure.CONCURRENT, amount=1, owner="alice")
TOKENS = Limit(measure=Measure.TOKENS, amount=100, owner="alice")


class StoreThatComesAndGoes(MemoryLimitStore):
    """Raises while it is away, and forgets nothing meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.away = self.busy = False
        self.renewed: list[str] = []

    def _answer(self) -> None:
        if self.away:
            raise errors.LimitStoreUnavailable
        if self.busy:
            raise errors.LimitStoreBusy

    @override
    async def take(self, claim: Claim) -> Verdict:
        self._answer()
        return await super().take(claim)

    @override
    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        self._answer()
        return await super().settle(claim, tokens=tokens)

    @override
    async def renew(self, claims: Collection[Claim]) -> None:
        self._answer()
        self.renewed += [claim.lease for claim in claims]


@pytest.fixture
def shared() -> StoreThatComesAndGoes:
    return StoreThatComesAndGoes()


@pytest.fixture
def own() -> StoreThatComesAndGoes:
    return StoreThatComesAndGoes()


@pytest.fixture
def store(shared, own) -> SharedLimits:
    return SharedLimits(shared, own)


def claim(lease: str, *limits: Limit) -> Claim:
    return Claim(lease=lease, limits=limits)


async def test_while_the_shared_store_answers_it_alone_counts(store, shared, own):
    assert (await store.take(claim("r1", PLACE))).granted
    assert not (await shared.take(claim("r2", PLACE))).granted
    assert own.size == 0


async def test_while_it_is_away_each_worker_limits_for_itself(store, shared):
    shared.away = True
    assert (await store.take(claim("r1", PLACE))).granted
    assert not (await store.take(claim("r2", PLACE))).granted
    await store.settle(claim("r1", PLACE), tokens=0)
    assert (await store.take(claim("r3", PLACE))).granted


async def test_a_place_is_given_back_where_it_was_taken(store, shared, own):
    shared.away = True
    await store.take(claim("r1", PLACE))
    shared.away = False
    await store.settle(claim("r1", PLACE), tokens=0)
    assert (await own.take(claim("r2", PLACE))).granted
    assert (await shared.take(claim("r3", PLACE))).granted


async def test_tokens_that_cannot_be_charged_there_are_charged_here(store, shared, own):
    await store.take(claim("r1", TOKENS))
    shared.away = True
    [standing] = await store.settle(claim("r1", TOKENS), tokens=70)
    assert standing.remaining == 30


async def test_each_lease_is_renewed_where_its_place_is(store, shared, own):
    at_shared, at_own = claim("r1", PLACE), claim("r2", PLACE)
    await store.take(at_shared)
    shared.away = True
    await store.take(at_own)
    await store.renew([at_shared, at_own])
    shared.away = False
    await store.renew([at_shared, at_own])
    assert shared.renewed == ["r1"]
    assert own.renewed == ["r2", "r2"]


async def test_a_store_that_too_many_ask_refuses_and_nobody_is_rid_of_the_limits(
    store, shared, own
):
    shared.busy = True
    with pytest.raises(errors.LimitStoreBusy):
        await store.take(claim("r1", PLACE))
    assert own.size == 0


async def test_what_was_used_is_charged_here_while_too_many_ask_the_shared_store(
    store, shared, own
):
    await store.take(claim("r1", TOKENS))
    shared.busy = True
    [standing] = await store.settle(claim("r1", TOKENS), tokens=70)
    assert standing.remaining == 30
    await store.renew([claim("r1", PLACE)])


async def test_a_request_without_a_place_that_used_nothing_leaves_nothing_behind(
    store, shared, own
):
    """Nobody settles such a claim, so nothing may wait for that."""
    placeless, placed = claim("placeless", REQUESTS, TOKENS), claim("placed", PLACE)
    shared.away = True
    assert (await store.take(placeless)).granted
    assert (await store.take(placed)).granted
    shared.away = False
    await store.renew([placeless, placed])
    assert (shared.renewed, own.renewed) == (["placeless"], ["placed"])
    await store.settle(placed, tokens=0)
    await store.renew([placed])
    assert (shared.renewed, own.renewed) == (["placeless", "placed"], ["placed"])


async def test_tokens_are_charged_where_all_see_it_as_soon_as_that_answers(store, shared, own):
    shared.away = True
    await store.take(claim("r1", TOKENS))
    shared.away = False
    [standing] = await store.settle(claim("r1", TOKENS), tokens=70)
    assert standing.remaining == 30
    [standing] = await shared.settle(claim("", TOKENS), tokens=0)
    assert standing.remaining == 30
