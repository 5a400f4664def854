"""The agent's process: it waits for the lease, holds it, works, and lets it go."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial

from compute_functions import site_config
from compute_functions.drivers.chosen import chosen
from compute_functions.errors import ConfigurationError, DiskFailed, LeaseLost, Outranked
from compute_functions.reconciler.policy import Policy
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.supervision import kept_running
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import functions, installed, links
from compute_functions.site_agent.agent import SiteAgent
from compute_functions.site_agent.calls import Calls
from compute_functions.site_agent.changes import Basis, Changes
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.lease import MARGIN_S, TERM_S, Lease
from compute_functions.site_agent.looking import UNSURE_S
from compute_functions.site_agent.setup import Setup
from compute_functions.site_agent.site_link import SiteLink
from compute_functions.site_agent.troubles import Troubles
from compute_functions.site_agent.vouching import Vouching
from compute_functions.site_config import SiteConfig, SiteModels

log = logging.getLogger("hotnode.site_agent")

RENEW_S = 2.0
#: Who waits for the lease looks so often (seconds).
WAIT_S = 0.5
#: Who is only to start an agent where none is gives up after this: another one lives (seconds).
GIVE_UP_S = TERM_S + 2 * MARGIN_S
#: What ended by a fault of its own begins again after this (seconds).
PAUSE_S = 5.0
#: A submission takes at most so many times as long as one command of the scheduler may, and a
#: little: the driver's own limits.
_COMMANDS, _MORE_S = 3, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the agent's process."""

    site: SiteDirectory
    unless_running: bool = False


class Process:
    """One process that is, or waits to be, the site's agent."""

    def __init__(self, what: Run, stop: asyncio.Event, *, disk: Disk, lease_disk: Disk) -> None:
        self._site = what.site
        self._give_up_s = GIVE_UP_S if what.unless_running else None
        self._stop = stop
        self._disk = disk
        # The lease must not wait behind a folder with thousands of files.
        self._lease_disk = lease_disk
        self._lease = Lease(what.site.agent)
        self._build = installed.build()
        # Of the process, not of a term: what hangs outlives the lease.
        self._calls = Calls(functions.of(what.site))

    async def run(self) -> None:
        """Be the site's agent until `stop` is set.

        Raises `ConfigurationError` if the site's files are wrong, and `Superseded`.
        """
        await self._disk.do(self._site.prepare)
        await self._config()
        above = 0
        while await self._acquired(above):
            above = self._lease.fence
            log.info("agent_active fence=%d pid=%d", above, os.getpid())
            try:
                await self._hold()
            except LeaseLost as error:
                log.warning("agent_passive reason=%s", error)
            except DiskFailed as error:
                log.warning("agent_passive reason=%s", error)
                await _set_within(self._stop, PAUSE_S)
            except Outranked as error:
                above = max(above, error.fence)
                log.warning("agent_takes_a_higher_number reason=%s", error)
            finally:
                await self._release()

    async def _config(self) -> SiteConfig:
        return await self._disk.do(lambda: site_config.load(self._site))

    async def _acquired(self, above: int) -> bool:
        """Wait for the lease; tell whether it is ours now."""
        deadline = None if self._give_up_s is None else time.monotonic() + self._give_up_s
        troubles = Troubles()
        while not self._stop.is_set():
            try:
                if await self._lease_disk.do(partial(self._lease.acquire, above=above)):
                    return True
                troubles.note("lease", "")
            except DiskFailed as error:
                troubles.note("lease", str(error))
            if deadline is not None and time.monotonic() > deadline:
                log.info("agent_not_needed reason=another one works, or the disk does not")
                return False
            await _set_within(self._stop, WAIT_S)
        log.info("agent_stopped while=waiting")
        return False

    async def _release(self) -> None:
        try:
            await self._lease_disk.do(self._lease.release)
        except DiskFailed as error:
            log.warning("lease_not_released error=%s", error)  # It runs out by itself.

    async def _hold(self) -> None:
        """Work while the lease is ours; returns when `stop` is set."""
        # It is renewed from the beginning: what is read first may take longer than it lasts.
        await _first_of(self._stop.wait(), self._renew(), self._work())
        log.info("agent_stopped while=active")

    async def _work(self) -> None:
        """Be the agent until cancelled."""
        # Read now: a process may have waited for days.
        config, troubles = await self._config(), Troubles()
        enrolment = await self._enrolment(troubles)
        all_links: list[SiteLink] = []

        def told() -> None:
            for link in all_links:
                link.tell()

        setup = _setup(self._site, config, self._lease, enrolment)
        agent = SiteAgent(setup, disk=self._disk, troubles=troubles, told=told)
        await agent.load()
        basis = Basis(build=self._build, config=config, enrolment=enrolment)
        changes = Changes(self._site, basis, disk=self._disk, troubles=troubles)
        work = [agent.run(), _watch(changes)]
        if enrolment is not None:
            all_links += links.made(self._site, enrolment, agent, self._calls)
            linking = partial(links.kept, all_links, enrolment)
            work.append(kept_running(linking, name="site links", pause_s=PAUSE_S))
        await _first_of(*work)

    async def _enrolment(self, troubles: Troubles) -> Enrolment | None:
        """Return how the site has enrolled. What is wrong with it keeps no model from running."""
        try:
            return await self._disk.do(lambda: Enrolment.read(self._site))
        except ConfigurationError as error:
            troubles.note("enrolment", "the site's enrolment cannot be read", cause=error)
            return None

    async def _renew(self) -> None:
        """Renew the lease; ends with `LeaseLost`. A disk that fails may be back in time."""
        troubles = Troubles()
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self._lease_disk.do(self._lease.renew)
                troubles.note("lease", "")
            except DiskFailed as error:
                troubles.note("lease", str(error))
                self._lease.check_time()


async def run(what: Run, stop: asyncio.Event) -> None:
    """Be the site's agent until `stop` is set; raises as `Process.run` does."""
    with Disk() as disk, Disk(within_s=TERM_S) as lease_disk:
        await Process(what, stop, disk=disk, lease_disk=lease_disk).run()


async def _watch(changes: Changes) -> None:
    """Watch; a disk that does not answer now is trouble of the agent's looks already."""
    while True:
        try:
            await changes.watch()
        except DiskFailed as error:
            log.debug("changes_not_seen error=%s", error)


async def _first_of(*work: Coroutine[None, None, object]) -> None:
    """Run all of them until one ends, and raise what that one raises."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
    for task in tasks:
        if task not in done and not task.cancelled() and (error := task.exception()):
            log.error("fault_at_the_end", exc_info=error)


def _setup(
    site: SiteDirectory, config: SiteConfig, lease: Lease, enrolment: Enrolment | None
) -> Setup:
    build = installed.build()
    return Setup(
        site=site,
        driver=chosen(site, config, os.environ),
        lease=lease,
        policy=policy(config),
        models=SiteModels(config),
        partition=lambda hot: config.block(hot=hot).partition or "",
        version=build[0] if build else "",
        host=socket.gethostname(),
        pid=os.getpid(),
        poll_s=config.limits.poll_s,
        unsure_s=max(UNSURE_S, _COMMANDS * config.provider.cmd_timeout + _MORE_S),
        vouching=Vouching(site, enrolment) if enrolment else None,
        batches=config.batches,
    )


def policy(config: SiteConfig) -> Policy:
    """Return the numbers of the site's file as the reconciler reads them."""
    limits = config.limits
    return Policy(
        gpus=limits.gpus_in_all,
        jobs=limits.jobs,
        instance_gpus=limits.gpus,
        walltime_s=limits.walltime_s,
        surge=limits.surge,
        heartbeat_s=limits.heartbeat_s,
        slack_s=limits.heartbeat_s,
        start_s=limits.start_deadline_s,
        drain_s=limits.drain_s,
        # Instances drain by themselves then.
        last_s=max(Policy().last_s, config.job.drain_before_s),
    )


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return  # Not yet.
