"""One Globus identity's calls to the Compute service: one at a time, within its budgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from resource_server.adapters.globus_compute.budget import Budgets, BudgetState, RequestBudget
from resource_server.adapters.globus_compute.credentials import ClientCredentials
from resource_server.adapters.globus_compute.failures import CallFailed, Fate
from resource_server.adapters.globus_compute.service import (
    ComputeService,
    QueueAddress,
    Receipt,
    ServiceAddresses,
    Submission,
)

T = TypeVar("T")

#: How long a closing gateway waits for a call that is under way (seconds).
CLOSE_TIMEOUT_S = 5.0
#: The pause after a 429 that does not say how long (seconds).
THROTTLE_PAUSE_S = 10.0
#: The longest pause that a 429 can impose (seconds).
THROTTLE_PAUSE_MAX_S = 120.0


class ComputeClient:
    """The Compute service for coroutines.

    The SDK blocks and its token store is not thread safe, so each identity has one thread. A call
    takes its budget only when the thread is free: calls that pile up behind a slow one must not
    leave in a burst afterwards.
    """

    def __init__(
        self,
        credentials: ClientCredentials,
        addresses: ServiceAddresses,
        *,
        allowance: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = credentials.name
        self._credentials = credentials
        self._addresses = addresses
        self._budgets = Budgets.within(allowance, clock)
        self._thread_free = asyncio.Lock()

    async def __aenter__(self) -> Self:
        # Nothing is awaited here: a caller who is cancelled meanwhile would leave half a client.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"globus-{self.name}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wait({asyncio.wrap_future(closing)}, timeout=CLOSE_TIMEOUT_S)

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return what is left of the identity's allowance, without asking anybody."""
        return self._budgets.state()

    @asynccontextmanager
    async def submission_turn(self) -> AsyncIterator[None]:
        """Wait for the right to one submission, and hold it."""
        async with self._turn(self._budgets.submissions):
            yield

    async def submit(self, submission: Submission) -> Receipt:
        """Hand tasks over; only inside a `submission_turn`."""
        return await self._call(lambda service: service.submit(submission))

    def pause_submissions(self, seconds: float) -> None:
        """Submit nothing for so long."""
        self._budgets.submissions.pause(seconds)

    async def queue_address(self) -> QueueAddress:
        """Return where to listen for results, with fresh credentials."""
        return await self._inquire(ComputeService.queue_address)

    async def endpoint_status(self, endpoint_id: str) -> str:
        """Return the service's word for the endpoint's state, as `online`."""
        return await self._inquire(lambda service: service.endpoint_status(endpoint_id))

    async def task_records(self, task_ids: Sequence[str]) -> dict[str, Any]:
        """Return what the service knows of tasks, by id."""
        return await self._inquire(lambda service: service.task_records(task_ids))

    async def _inquire(self, call: Callable[[ComputeService], T]) -> T:
        async with self._turn(self._budgets.inquiries):
            return await self._call(call)

    @asynccontextmanager
    async def _turn(self, budget: RequestBudget) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(budget.wait_s())
            async with self._thread_free:
                if budget.take():
                    yield
                    return

    async def _call(self, call: Callable[[ComputeService], T]) -> T:
        try:
            return await self._in_thread(call)
        except CallFailed as failure:
            if failure.fate is Fate.THROTTLED:
                self._keep_still(failure.retry_after_s)
            raise

    def _keep_still(self, retry_after_s: float | None) -> None:
        """Obey a 429: it counts requests of every purpose."""
        asked = THROTTLE_PAUSE_S if retry_after_s is None else retry_after_s
        pause = min(asked, THROTTLE_PAUSE_MAX_S)
        self._budgets.submissions.pause(pause)
        self._budgets.inquiries.pause(pause)

    async def _in_thread(self, call: Callable[[ComputeService], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(self._service))

    @cached_property
    def _service(self) -> ComputeService:
        """The service's client, made by the thread that uses it."""
        return ComputeService(self._credentials, self._addresses)

    def _close(self) -> None:
        if "_service" in vars(self):
            self._service.close()
