"""What an agent is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.batch_settings import BatchSettings
from compute_functions.drivers import InstanceDriver
from compute_functions.reconciler.policy import Policy
from compute_functions.site import SiteDirectory
from compute_functions.site_agent.lease import Lease
from compute_functions.site_agent.looking import UNSURE_S
from compute_functions.site_agent.vouching import Vouching
from compute_functions.site_config import SiteModels


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The site, what the agent holds of it, and its clocks.

    `poll_s` is how often the scheduler is asked for its jobs, `unsure_s` how long a job may appear
    after its submission seemed to fail. `partition` is that of hot models' jobs, or of others'.
    `batches` is how the site takes batches, if it does.
    `now` is seconds since the epoch, `clock` a time that never jumps.
    """

    site: SiteDirectory
    driver: InstanceDriver
    lease: Lease
    policy: Policy
    models: SiteModels
    partition: Callable[[bool], str]
    version: str
    host: str
    pid: int
    poll_s: float
    unsure_s: float = UNSURE_S
    vouching: Vouching | None = None
    batches: BatchSettings | None = None
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic

    def mine(self, work: Callable[[], None]) -> None:
        """Do what only the agent may do: an old one that wakes up must spoil nothing."""
        self.lease.require()
        work()
