"""A tenure is over when its term is, unless its lease was renewed in between."""

from __future__ import annotations

import asyncio

import pytest

from resource_server.domain.errors import LeaseLost
from resource_server.ports import Tenure
from resource_server.services.controller import RENEWALS_PER_TERM, Controller
from resource_server.services.tenure import LeasedTenure

TERM_S = 15.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenure(clock: Clock) -> LeasedTenure:
    return LeasedTenure(7, asked_at=clock.now, term_s=TERM_S, clock=clock)


def test_it_goes_on_for_a_term(tenure: LeasedTenure, clock: Clock) -> None:
    clock.now += TERM_S - 0.001
    tenure.require()
    assert tenure.fence == 7


def test_it_is_over_after_its_term(tenure: LeasedTenure, clock: Clock) -> None:
    clock.now += TERM_S
    with pytest.raises(LeaseLost):
        tenure.require()


def test_a_renewal_counts_from_when_it_was_asked_for(tenure: LeasedTenure, clock: Clock) -> None:
    asked_at = clock.now + 5
    # The answer took long.
    clock.now += 14
    tenure.renewed(asked_at=asked_at)
    clock.now = asked_at + TERM_S - 0.001
    tenure.require()
    clock.now = asked_at + TERM_S
    with pytest.raises(LeaseLost):
        tenure.require()


class LeaseThatNobodyElseWants:
    """Is renewed whenever it is asked, and tells after how many times that was."""

    def __init__(self) -> None:
        self.taken, self.renewals = 0, 0
        self.renewed_for_long = asyncio.Event()

    async def acquire(self) -> int | None:
        self.taken += 1
        return self.taken

    async def renew(self, fence: int) -> None:
        self.renewals += 1
        if self.renewals > RENEWALS_PER_TERM:
            self.renewed_for_long.set()

    async def release(self, fence: int) -> None: ...


class DutyThatLastsLongerThanATerm:
    """Asks at its end whether it is still the active controller's."""

    name, every_s = "long", 60.0

    def __init__(self, lease: LeaseThatNobodyElseWants) -> None:
        self._lease = lease
        self.done = asyncio.Event()

    async def perform(self, tenure: Tenure) -> None:
        await self._lease.renewed_for_long.wait()
        tenure.require()
        self.done.set()


async def test_a_controller_that_renews_its_lease_goes_on() -> None:
    lease = LeaseThatNobodyElseWants()
    duty = DutyThatLastsLongerThanATerm(lease)
    running = asyncio.create_task(Controller(lease, [duty], term_s=1.5).run())
    try:
        async with asyncio.timeout(20):
            await duty.done.wait()
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert lease.taken == 1
