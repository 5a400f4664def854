"""The controller's duty to forget batches that are long over, and people who have none."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from resource_server.batch_ports import OldBatches
from resource_server.ports import Tenure

log = logging.getLogger(__name__)

#: Between two rounds (seconds).
EVERY_S = 600.0


class OldRowsDuty:
    """Forgets what is over for more than `keep_s`; see `ports.Duty`.

    Few rows go in one transaction, so that nobody waits for it.
    """

    name = "old-batches"

    def __init__(
        self,
        table: OldBatches,
        *,
        keep_s: float,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._keep_s = keep_s
        self._clock = clock
        self.every_s = every_s

    async def perform(self, tenure: Tenure) -> None:
        """Forget all that is old; raises `LeaseLost`."""
        fence, before = tenure.fence, self._clock() - self._keep_s
        batches = await _all_of_it(tenure, partial(self._table.forget, before, fence))
        # Afterwards, as somebody's last batch may have been among them.
        people = await _all_of_it(tenure, partial(self._table.forget_holders, fence))
        if batches or people:
            log.info("old_batches_forgotten", extra={"batches": batches, "people": people})


async def _all_of_it(tenure: Tenure, some: Callable[[], Awaitable[int]]) -> int:
    """Do something again and again until nothing is left to do; return how much it was."""
    total = 0
    while True:
        tenure.require()
        done = await some()
        total += done
        if not done:
            return total
