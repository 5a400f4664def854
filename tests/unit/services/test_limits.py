from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest
from typing_extensions import override

from batch.client.watching import EVERY_S
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.config.limits import LimitSettings
from resource_server.domain import errors
from resource_server.domain.inference import Usage
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.domain.limits import Claim, Measure, Scope, Standing, Verdict
from resource_server.services.limits import Limits
from tests.support.catalogs import model
from tests.support.doubles import person
from tests.support.eventually import eventually, soon

ALICE = replace(person("alice@example.org"), credential="c0ffee")
BOB = person("bob@example.org")
MODEL = model("a/b")
USAGE = Usage(input_tokens=30, output_tokens=50)


class StoreWithAClock(MemoryLimitStore):
    """A store whose time passes when a test says so, and which keeps what it is asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.settled: list[tuple[str, int]] = []
        self.renewed = asyncio.Event()
        super().__init__(clock=lambda: self.now)

    @override
    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        self.settled.append((claim.lease, tokens))
        return await super().settle(claim, tokens=tokens)

    @override
    async def renew(self, claims: Collection[Claim]) -> None:
        await super().renew(claims)
        self.renewed.set()


class StoreThatFailsOnce(StoreWithAClock):
    """Fails at the first renewal in a way that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    @override
    async def renew(self, claims: Collection[Claim]) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("a bug")
        await super().renew(claims)


class StoreThatIsSlow(StoreWithAClock):
    """Takes at once, and says so only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    @override
    async def take(self, claim: Claim) -> Verdict:
        verdict = await super().take(claim)
        self.asked.set()
        await self.let.wait()
        return verdict

    @override
    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        for _ in range(10):
            await asyncio.sleep(0)
        return await super().settle(claim, tokens=tokens)


@pytest.fixture
def store() -> StoreWithAClock:
    return StoreWithAClock()


def limits(store: MemoryLimitStore, *, renew_every_s: float = 3600.0, **allowance) -> Limits:
    rules = LimitRules(defaults=(Allowance(**allowance),))
    return Limits(store, lambda: rules, renew_every_s=renew_every_s)


async def ask(kept: Limits, lease: str, who=ALICE, usage: Usage | None = None):
    async with kept.admitted(who, MODEL, request_id=lease) as admission:
        admission.use(usage)
    return admission


async def test_without_limits_the_store_is_not_asked(store):
    admission = await ask(limits(store), "r1", usage=USAGE)
    assert admission.standings == ()
    assert store.settled == []
    assert store.size == 0


@pytest.mark.row("A-56")
@pytest.mark.row("A-57")
async def test_too_many_requests_in_a_minute_are_refused_until_there_is_room(store):
    kept = limits(store, requests_per_minute=2)
    for lease in ("r1", "r2"):
        await ask(kept, lease)
    with pytest.raises(errors.RateLimited, match="requests is used up: 2 per minute") as refused:
        await ask(kept, "r3")
    assert refused.value.retry_after_s == pytest.approx(30)
    assert refused.value.measure is Measure.REQUESTS
    [standing] = refused.value.standings
    assert (standing.limit, standing.remaining, standing.reset_s) == (2, 0, pytest.approx(60))
    await ask(kept, "r4", who=BOB)
    store.now += refused.value.retry_after_s
    await ask(kept, "r5")


@pytest.mark.row("U-28")
async def test_each_key_has_its_requests_per_minute(store):
    kept = limits(store, requests_per_minute_per_key=1)
    await ask(kept, "r1")
    with pytest.raises(errors.RateLimited, match="with one key"):
        await ask(kept, "r2")
    await ask(kept, "r3", who=replace(ALICE, credential="other"))


async def test_tokens_are_charged_when_the_answer_is_there(store):
    kept = limits(store, tokens_per_minute=100)
    first = await ask(kept, "r1", usage=USAGE)
    assert first.standings[0].remaining == 20
    second = await ask(kept, "r2", usage=USAGE)
    assert second.standings[0].remaining == 0
    with pytest.raises(errors.RateLimited, match="tokens is used up: 100 per minute") as refused:
        await ask(kept, "r3")
    assert refused.value.measure is Measure.TOKENS
    assert refused.value.retry_after_s == pytest.approx(61 * 60 / 100)


async def test_tokens_of_a_model_bind_that_model_alone(store):
    kept = limits(store, tokens_per_minute_per_model=10)
    await ask(kept, "r1", usage=USAGE)
    with pytest.raises(errors.RateLimited, match="to the model 'a/b'"):
        await ask(kept, "r2")
    async with kept.admitted(ALICE, model("other"), request_id="r3") as admission:
        assert admission.standings[0].scope is Scope.MODEL


async def test_requests_at_once_are_limited_and_the_place_is_back_with_the_answer(store):
    kept = limits(store, concurrent_requests=1)
    for lease in ("r1", "r2"):
        async with kept.admitted(ALICE, MODEL, request_id=lease) as admission:
            assert admission.standings[0].remaining == 0
            with pytest.raises(errors.RateLimited, match="at once is reached: 1"):
                await ask(kept, f"{lease}-beside")
        assert admission.standings[0].remaining == 1


async def test_a_store_that_need_not_be_waited_for_has_settled_when_the_request_is_over():
    store = MemoryLimitStore()
    rules = LimitRules(defaults=(Allowance(concurrent_requests=1, tokens_per_minute=100),))
    kept = Limits(store, lambda: rules, settle_now=store.settle_now)
    for lease, left in (("r1", 20), ("r2", 0)):
        async with kept.admitted(ALICE, MODEL, request_id=lease) as admission:
            admission.use(USAGE)
            before = asyncio.all_tasks()
            admission.end()
            assert asyncio.all_tasks() == before
        assert [standing.remaining for standing in admission.standings] == [left, 1]


async def test_what_fails_gives_its_place_back_and_costs_what_it_used(store):
    kept = limits(store, concurrent_requests=1, tokens_per_minute=100)

    async def fail() -> None:
        async with kept.admitted(ALICE, MODEL, request_id="r1") as admission:
            admission.use(USAGE)
            raise errors.BackendUnavailable

    with pytest.raises(errors.BackendUnavailable):
        await fail()
    assert store.settled == [("r1", 80)]
    await ask(kept, "r2")


async def test_the_limit_that_is_in_the_way_the_longest_is_named(store):
    kept = limits(store, requests_per_minute=60, tokens_per_minute=80, concurrent_requests=1)
    async with kept.admitted(ALICE, MODEL, request_id="r1"):
        await store.settle(
            Claim(
                lease="x",
                limits=LimitRules(defaults=(Allowance(tokens_per_minute=80),)).limits_of(ALICE),
            ),
            tokens=400,
        )
        with pytest.raises(errors.RateLimited) as refused:
            await ask(kept, "r2")
    assert refused.value.measure is Measure.TOKENS
    assert "Try again in 241 s." in str(refused.value)


async def leave(kept: Limits, lease: str) -> list:
    """Leave while the engine works, as a request that outlives its caller; return its admission."""
    inside = asyncio.Event()
    admissions = []

    async def request() -> None:
        async with kept.admitted(ALICE, MODEL, request_id=lease) as admission:
            admissions.append(admission)
            inside.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                admission.outlive()
                raise

    task = asyncio.create_task(request())
    await soon(inside)
    task.cancel()
    await asyncio.wait([task])
    return admissions


async def test_a_request_that_outlives_its_caller_keeps_its_place_and_is_charged_late(store):
    async with limits(store, concurrent_requests=1, tokens_per_minute=100) as kept:
        [admission] = await leave(kept, "r1")
        with pytest.raises(errors.RateLimited):
            await ask(kept, "r2")
        admission.use(USAGE)
        admission.end()
        admission.end()
    assert store.settled == [("r1", 80)]
    async with kept.admitted(ALICE, MODEL, request_id="r3") as admission:
        assert [standing.remaining for standing in admission.standings] == [20, 0]


async def test_what_was_over_before_its_caller_left_is_over_once(store):
    kept = limits(store, concurrent_requests=1)
    async with kept.admitted(ALICE, MODEL, request_id="r1") as admission:
        admission.end()
        admission.outlive()
    assert store.settled == [("r1", 0)]
    await ask(kept, "r2")


async def test_a_caller_who_leaves_at_the_door_takes_no_place():
    store = StoreThatIsSlow()
    async with limits(store, concurrent_requests=1) as kept:
        task = asyncio.create_task(ask(kept, "r1"))
        await soon(store.asked)
        task.cancel()
        await asyncio.wait([task])
    store.let.set()
    await ask(kept, "r2")


async def test_leases_of_running_requests_begin_anew(store):
    async with limits(store, renew_every_s=0.001, concurrent_requests=1) as kept:
        [admission] = await leave(kept, "r1")
        for _ in range(3):
            store.now += 20
            store.renewed.clear()
            await soon(store.renewed)
        with pytest.raises(errors.RateLimited):
            await ask(kept, "r2")
        admission.end()
        await eventually(lambda: store.settled)
        await ask(kept, "r3")


async def test_a_place_is_not_kept_for_ever(store):
    rules = LimitRules(defaults=(Allowance(concurrent_requests=1),))
    async with Limits(store, lambda: rules, renew_every_s=0.001, longest_s=0) as kept:
        [admission] = await leave(kept, "r1")
        await soon(store.renewed)
        store.now += 31
        await ask(kept, "r2")
        admission.end()
    assert store.settled == [("r2", 0), ("r1", 0)]


async def test_a_stream_that_lives_keeps_its_place(store):
    rules = LimitRules(defaults=(Allowance(concurrent_requests=1),))
    async with (
        Limits(store, lambda: rules, renew_every_s=0.001, longest_s=0) as kept,
        kept.admitted(ALICE, MODEL, request_id="r1"),
    ):
        for _ in range(3):
            store.now += 20
            store.renewed.clear()
            await soon(store.renewed)
        with pytest.raises(errors.RateLimited):
            await ask(kept, "r2")


async def test_what_the_gateway_s_end_finds_running_is_still_charged():
    store = StoreThatIsSlow()
    store.let.set()
    async with limits(store, tokens_per_minute=100) as kept:
        [admission] = await leave(kept, "r1")
        admission.use(USAGE)
        admission.end()
    assert store.settled == [("r1", 80)]


async def test_who_has_not_asked_for_long_is_forgotten(store):
    kept = limits(store, requests_per_minute=5, concurrent_requests=1)
    for number in range(50):
        await ask(kept, f"r{number}", who=person(f"p{number}@example.org"))
    store.now += 300
    await ask(kept, "last")
    assert store.size == 2


async def test_places_are_kept_after_a_renewal_that_failed():
    store = StoreThatFailsOnce()
    async with limits(store, renew_every_s=0.001, concurrent_requests=1):
        await soon(store.renewed)
    assert store.failed


async def test_requests_about_batches_are_counted_apart_from_others(store):
    kept = limits(store, requests_per_minute=1, batch_requests_per_minute=2)
    await ask(kept, "r1")
    for lease in ("b1", "b2"):
        await kept.count_batch_request(ALICE, request_id=lease)
    with pytest.raises(errors.RateLimited, match="2 per minute about files and batches") as refused:
        await kept.count_batch_request(ALICE, request_id="b3")
    assert refused.value.retry_after_s == pytest.approx(30)
    assert [standing.scope for standing in refused.value.standings] == [Scope.BATCHES]
    await kept.count_batch_request(BOB, request_id="b4")
    store.now += refused.value.retry_after_s
    await kept.count_batch_request(ALICE, request_id="b5")


async def test_without_a_limit_on_them_nothing_is_counted(store):
    await limits(store, requests_per_minute=1).count_batch_request(ALICE, request_id="b1")
    assert store.size == 0


async def test_who_watches_many_batches_never_meets_the_usual_limit(store):
    usual = LimitSettings().limit_batch_requests_per_minute
    kept = limits(store, batch_requests_per_minute=usual)
    #: Some watch as `batch watch` does, and some scripts ask each second.
    every_s = [EVERY_S] * 10 + [1.0] * 4
    due = [0.0] * len(every_s)
    while min(due) < 600:
        first = due.index(min(due))
        store.now = 1000.0 + due[first]
        await kept.count_batch_request(ALICE, request_id=f"{first}-{due[first]}")
        due[first] += every_s[first]
