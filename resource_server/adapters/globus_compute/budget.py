"""How often one Globus identity may call the Compute service, as a pure clockwork.

The service answers 429 to the 21st request of an identity within ten seconds. A request budget is
a token bucket: whatever callers do, no window ever holds more than its allowance, a lone request
goes at once, and a flood is spread evenly over the window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

#: What Globus Compute allows one identity: so many requests in any window of so many seconds.
ALLOWANCE = 20
WINDOW_S = 10.0


class RequestBudget:
    """Lets at most `requests` go in any window of `window_s` seconds, `burst` of them at once."""

    def __init__(
        self,
        *,
        requests: int,
        window_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < burst < requests:
            raise ValueError(f"a burst of {burst} is not between 0 and {requests} requests")
        self._burst = float(burst)
        self._rate = (requests - burst) / window_s
        self._clock = clock
        self._tokens = float(burst)
        self._counted_at = clock()

    def wait_s(self) -> float:
        """Return after how many seconds `take` will succeed; 0 means now."""
        self._refill()
        missing = max(0.0, 1.0 - self._tokens) / self._rate
        return missing + max(0.0, self._counted_at - self._clock())

    @property
    def available(self) -> int:
        """How many requests may go at once."""
        return 0 if self.wait_s() > 0 else int(self._tokens)

    def take(self) -> bool:
        """Take the right to one request, if there is one now."""
        if self.wait_s() > 0:
            return False
        self._tokens -= 1.0
        return True

    def pause(self, seconds: float) -> None:
        """Let nothing go for so long, and then one request: the service asked for patience."""
        self._refill()
        self._tokens = min(self._tokens, 1.0)
        self._counted_at = max(self._counted_at, self._clock() + seconds)

    def _refill(self) -> None:
        elapsed = self._clock() - self._counted_at
        if elapsed > 0:
            self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
            self._counted_at += elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What is left for one purpose: so many requests at once, or one after `wait_s` seconds."""

    purpose: str
    available: int
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """One identity's allowance, divided by purpose.

    A fifth is for calls that find things out: status of endpoints, lost results, the address of
    the result queue. One request in twenty stays unused, for the repetition of a call after its
    token was renewed. Submissions get the rest.
    """

    submissions: RequestBudget
    inquiries: RequestBudget

    @classmethod
    def within(cls, requests: int, clock: Callable[[], float] = time.monotonic) -> Self:
        """Divide an allowance of at least four requests per window."""
        inquiries = max(2, requests // 5)
        submissions = requests - inquiries - requests // 20
        return cls(
            # A small burst leaves the most for the even pace that a busy gateway lives at.
            submissions=_budget(submissions, burst=max(1, submissions // 6), clock=clock),
            inquiries=_budget(inquiries, burst=max(1, inquiries // 2), clock=clock),
        )

    def state(self) -> tuple[BudgetState, ...]:
        """Return what is left for each purpose."""
        budgets = {"submission": self.submissions, "inquiry": self.inquiries}
        return tuple(
            BudgetState(purpose=purpose, available=budget.available, wait_s=budget.wait_s())
            for purpose, budget in budgets.items()
        )


def _budget(requests: int, *, burst: int, clock: Callable[[], float]) -> RequestBudget:
    return RequestBudget(requests=requests, window_s=WINDOW_S, burst=burst, clock=clock)
