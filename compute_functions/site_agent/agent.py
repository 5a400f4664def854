"""The agent at work: it looks at the site, decides, acts, tells what there is, and begins again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from compute_functions.contract import AgentReport, Demand, DesiredState, ModelOutlook, SiteStatus
from compute_functions.drivers import JobState
from compute_functions.errors import DiskFailed, LeaseLost, Outranked
from compute_functions.reconciler.decide import decide
from compute_functions.reconciler.decision import Decision
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Member
from compute_functions.reconciler.memory import Memory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.view import View
from compute_functions.site_agent import ensuring, observation, site_files
from compute_functions.site_agent.acting import Acts, Terms
from compute_functions.site_agent.batches import AgentBatches
from compute_functions.site_agent.brevity import FEW, brief
from compute_functions.site_agent.clock_steps import ClockSteps
from compute_functions.site_agent.demands import Demands
from compute_functions.site_agent.desires import Desires
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.history import History
from compute_functions.site_agent.inbox import Inbox
from compute_functions.site_agent.learning import Learning
from compute_functions.site_agent.lease import MARGIN_S, TERM_S
from compute_functions.site_agent.looking import Look, Site
from compute_functions.site_agent.scheduler_watch import SchedulerWatch
from compute_functions.site_agent.setup import Setup
from compute_functions.site_agent.site_files import SiteFiles, SiteSaid
from compute_functions.site_agent.telling import Telling
from compute_functions.site_agent.troubles import Troubles
from compute_functions.site_config import Refusal, Resolution

log = logging.getLogger("hotnode.site_agent")

#: Files are looked at so often (seconds): heartbeats come every two.
LOOK_S = 1.0
#: While an engine loads for which a batch waits they are looked at so often (seconds), if a look
#: takes so small a part of that.
EAGER_LOOK_S, EAGER_PART = 0.25, 0.2
#: Looks that wishes bring are at least so far apart (seconds).
APART_S = 0.1
SWEEP_S = 600.0
#: An order whose instance is nowhere to be seen is kept for so long (seconds).
GONE_S = 10.0
#: Jobs must carry a higher fencing number for so long before we take a higher one: an agent that
#: has it would have shown itself (seconds).
OUTRANKED_S = TERM_S + MARGIN_S
#: No agent was ever there so often: such a number is damaged.
_MOST_FENCE = 10**12

Wish: TypeAlias = DesiredState | Demand


class SiteAgent:
    """One agent that holds the lease, from `load` to the end of `run`."""

    def __init__(
        self,
        setup: Setup,
        *,
        disk: Disk,
        troubles: Troubles,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        site, now, clock = setup.site, setup.now, setup.clock
        self._setup = setup
        self._disk = disk
        self._troubles = troubles
        self._desires = Desires(site.agent / "desired.json")
        self._demands = Demands(site.agent / "used.json", now=now, clock=clock)
        self._learning = Learning(History(site.agent / "history.jsonl"))
        self._inbox = Inbox(ensuring.inbox_folder(site))
        self._files = SiteFiles(site)
        self._look = Look(now=now, clock=clock, unsure_s=setup.unsure_s)
        self._scheduler = SchedulerWatch(setup.driver, troubles, poll_s=setup.poll_s, clock=clock)
        self._acts = Acts(setup, disk=disk, troubles=troubles)
        self._wake = asyncio.Event()
        self._batches = (
            AgentBatches(setup, setup.batches, disk=disk, troubles=troubles, changed=self._wake.set)
            if setup.batches
            else None
        )
        self._telling = Telling(setup, disk=disk, told=told)
        self._memory = Memory()
        self._clock_steps = ClockSteps(now=now, clock=clock)
        self._outlooks: tuple[ModelOutlook, ...] = ()
        self._outranked_since: float | None = None
        self._missed_since: dict[str, float] = {}
        self._vouched_at: dict[str, float] = {}
        self._swept_at = clock()
        self._started_at = now()

    @property
    def observation(self) -> SiteStatus | None:
        """What there is; None before the first look."""
        return self._telling.last

    def wish(self, said: Wish) -> None:
        """Take what a gateway says, and look at once where that may change what is to be done."""
        match said:
            case DesiredState() if self._desires.offer(said):
                self._wake.set()
            case Demand() if self._demands.take(said):
                self._wake.set()

    async def load(self) -> None:
        """Read what the agent before knew; raises `DiskFailed`."""
        for load in (self._desires.load, self._demands.load, self._learning.load):
            await self._disk.do(load)
        if self._batches is not None:
            await self._batches.load()

    async def run(self) -> None:
        """Work until cancelled; raises `LeaseLost` or `Outranked` when another agent must act."""
        try:
            while True:
                self._wake.clear()
                began = self._setup.clock()
                await self._try_to_look()
                took_s = self._setup.clock() - began
                await asyncio.sleep(APART_S)
                await self._pause(self.look_again_s(took_s) - APART_S)
        finally:
            await self._scheduler.close()
            if self._batches is not None:
                await self._batches.close()
            await self._flush()

    async def _try_to_look(self) -> None:
        """Look once; what goes wrong is trouble, which is told. The next look comes as always."""
        looking = asyncio.create_task(self.look(), name="look")
        try:
            await asyncio.wait({looking})
        finally:
            if not looking.done():
                looking.cancel()
                await asyncio.wait({looking})
        error = looking.exception()
        if isinstance(error, (LeaseLost, Outranked)):
            raise error
        is_disk = isinstance(error, DiskFailed)
        self._troubles.note("disk", str(error) if is_disk else "")
        # Nobody thought of this one: its traceback is for who mends the program.
        fault = f"a fault of the agent's own: {error!r}" if error and not is_disk else ""
        self._troubles.note("fault", fault, cause=error)
        if error is not None:
            await self._tell_trouble(can_write=not is_disk)

    async def _tell_trouble(self, *, can_write: bool) -> None:
        try:
            await self._telling.tell_trouble(self._report(), can_write=can_write)
        except DiskFailed as error:
            self._troubles.note("disk", str(error))

    async def look(self) -> None:
        """Look once, decide, and act."""
        await self._disk.do(self._setup.lease.require)
        self._follow_clock()
        await self._take_wishes()
        await self._scheduler.look()
        self._check_rank()
        said = await self._disk.do(self._read)
        site = Site(
            listing=self._scheduler.listings,
            jobs=self._scheduler.jobs,
            orders=said.orders,
            registrations=said.registrations,
            told=said.told,
        )
        # Without the scheduler's word nobody knows that a job has ended.
        is_current = self._scheduler.is_current
        submitted = self._acts.submitted if is_current else ()
        members = self._look.members(site, submitted=submitted)
        await self._look_at_batches(members)
        decided = self._decide(members) if is_current else None
        # Before it acts: a scheduler may take its time.
        await self._tell(site, members)
        if decided is not None:
            await self._do(*decided)
        await self._vouch(members, said)
        await self._disk.do(partial(self._write_down, members, site))
        if is_current:
            await self._tidy(site, members)

    def look_again_s(self, took_s: float) -> float:
        """Return how soon after a look that took so long the next one is due."""
        if self._batches is None or not self._batches.expects:
            return LOOK_S
        return min(max(EAGER_LOOK_S, took_s / EAGER_PART), LOOK_S)

    async def _look_at_batches(self, members: tuple[Member, ...]) -> None:
        if self._batches is not None:
            await self._batches.look(members, self._desires.current, self._outlooks)
            self._demands.take(self._batches.demand)

    def _follow_clock(self) -> None:
        step = self._clock_steps.last()
        if step:
            self._look.shift(step)
            self._demands.shift(step)
            self._memory = self._memory.shifted(step)

    def _read(self) -> SiteSaid:
        self._setup.models.refresh()
        return self._files.read(self._setup.now())

    async def _pause(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        except TimeoutError:
            return  # Nobody wished for anything: it is time to look again.

    async def _take_wishes(self) -> None:
        """Take what came as tasks. It is removed when it was written down, and not before."""
        waiting = await self._disk.do(
            partial(self._inbox.look, now_ns=int(self._setup.now() * 1e9))
        )
        for one in waiting:
            for said in (one.wishes.desired, one.wishes.demand):
                if said is not None:
                    self.wish(said)
        if self._desires.offered is not None or waiting:
            await self._disk.do(partial(self._setup.mine, self._desires.keep))
        if waiting:
            await self._disk.do(partial(self._setup.mine, partial(self._inbox.remove, waiting)))

    def _check_rank(self) -> None:
        """Raise `Outranked` if the files of leases were lost, so that ours has too low a number."""
        if not self._scheduler.is_current:
            return
        newest = max((job.fence for job in self._scheduler.jobs.values()), default=0)
        now = self._setup.clock()
        if newest <= self._setup.lease.fence or newest > _MOST_FENCE:
            self._outranked_since = None
        elif self._outranked_since is None:
            self._outranked_since = now
        elif now - self._outranked_since >= OUTRANKED_S:
            raise Outranked(newest)

    def _decide(self, members: tuple[Member, ...]) -> tuple[Decision, Terms]:
        desired = self._desires.current
        resolutions, refused = self._resolved(desired)
        decision = decide(
            View(
                now=self._setup.now(),
                fence=self._setup.lease.fence,
                desired=desired,
                policy=self._policy(resolutions),
                members=members,
                demand=self._demands.summed(),
                capacity=self._scheduler.capacity,
                estimates=self._estimates(members),
                refused=refused,
                memory=self._memory,
            )
        )
        self._troubles.note("decision", decision.trouble)
        self._memory, self._outlooks = decision.memory, decision.outlooks
        models = desired.models if desired else ()
        return decision, Terms(
            generation=desired.generation if desired else 0,
            resolutions=resolutions,
            hot={ModelKey.of(model) for model in models if model.min > 0},
        )

    async def _do(self, decision: Decision, terms: Terms) -> None:
        if not decision.actions:
            return
        # Whatever comes of it, the scheduler is asked anew before the next decision.
        self._scheduler.ask_anew()
        self._wake.set()
        self._memory = await self._acts.do(decision.actions, terms, decision.memory)

    def _policy(self, resolutions: dict[ModelKey, Resolution]) -> Policy:
        starts_s = {key.model: one.start_deadline_s for key, one in resolutions.items()}
        return replace(self._setup.policy, starts_s=starts_s)

    def _resolved(
        self, desired: DesiredState | None
    ) -> tuple[dict[ModelKey, Resolution], dict[ModelKey, str]]:
        resolutions: dict[ModelKey, Resolution] = {}
        refused: dict[ModelKey, str] = {}
        for model in desired.models if desired else ():
            match self._setup.models.resolve(model):
                case Resolution() as resolution:
                    resolutions[ModelKey.of(model)] = resolution
                case Refusal() as refusal:
                    refused[ModelKey.of(model)] = refusal.reason
        return resolutions, refused

    def _estimates(self, members: tuple[Member, ...]) -> dict[ModelKey, Estimate]:
        desired = self._desires.current
        models = {ModelKey.of(model): model for model in desired.models} if desired else {}
        partition = self._setup.partition
        return {
            key: self._learning.estimate(
                key,
                gpus=models[key].gpus if key in models else 0,
                partition=partition(key in models and models[key].min > 0),
            )
            for key in {member.key for member in members} | models.keys()
        }

    async def _vouch(self, members: tuple[Member, ...], said: SiteSaid) -> None:
        """Give credentials to instances that have none, or too few for all hubs."""
        vouching = self._setup.vouching
        if vouching is None:
            return
        short = set(vouching.runs_short(said.registrations.values()))
        now = self._setup.clock()
        there = {member.instance for member in members}
        self._vouched_at = {name: at for name, at in self._vouched_at.items() if name in there}
        for member in members:
            name, order = member.instance, said.orders.get(member.instance)
            if order is None or not member.job_id or member.state is JobState.ENDING:
                continue
            # It takes an instance a while to look at its file, and to say so.
            is_due = now - self._vouched_at.get(name, -vouching.again_s) >= vouching.again_s
            if is_due and (name in short or name not in said.vouched):
                self._vouched_at[name] = now
                await self._acts.vouch(order, member.job_id)

    async def _tell(self, site: Site, members: tuple[Member, ...]) -> None:
        found = observation.status(
            site,
            members,
            now=self._setup.now(),
            estimates=self._estimates(members),
            outlooks=self._outlooks,
            agent=self._report(),
        )
        is_long = len(found.instances) + len(found.outlooks) > FEW
        short = await asyncio.to_thread(brief, found) if is_long else brief(found)
        self._troubles.note("report", short.left_out)
        await self._telling.tell(short.status)

    def _report(self) -> AgentReport:
        setup, desired = self._setup, self._desires.current
        return AgentReport(
            host=setup.host,
            pid=setup.pid,
            fence=setup.lease.fence,
            started_at=self._started_at,
            version=setup.version,
            generation=desired.generation if desired else 0,
            revision=desired.revision if desired else 0,
            trouble=self._troubles.text,
        )

    def _write_down(self, members: tuple[Member, ...], site: Site) -> None:
        self._setup.lease.require()
        self._learning.note(members, site.orders, self._setup.partition)
        self._demands.save()

    async def _tidy(self, site: Site, members: tuple[Member, ...]) -> None:
        """Take away what stands for instances that are no more."""
        attended = {name for name, one in site.registrations.items() if one.attended}
        alive = {member.instance for member in members} | attended
        now = self._setup.clock()
        for name in self._gone(site, alive, now):
            last = site.registrations.get(name)
            state, detail = (last.state, last.detail) if last else ("unknown", "")
            log.info("order_done instance=%s state=%s detail=%s", name, state, detail)
            forget = partial(site_files.forget, self._setup.site, name)
            await self._disk.do(partial(self._setup.mine, forget))
        self._acts.submitted &= alive | site.orders.keys()
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            kept = alive | site.orders.keys()
            sweep = partial(site_files.sweep, self._setup.site, alive=kept, now=self._setup.now())
            await self._disk.do(partial(self._setup.mine, sweep))

    def _gone(self, site: Site, alive: set[str], now: float) -> list[str]:
        """Return which instances with an order were missed for long enough."""
        self._missed_since = {
            # One that says itself that it has ended is gone now.
            name: -math.inf if name in site.registrations else self._missed_since.get(name, now)
            for name in site.orders.keys() - alive
        }
        return [name for name, at in self._missed_since.items() if now - at >= GONE_S]

    async def _flush(self) -> None:
        """Write down when models were last used; an agent that has lost its lease does not."""
        try:
            await self._disk.do(partial(self._setup.mine, self._demands.flush))
        except (DiskFailed, LeaseLost) as error:
            log.warning("uses_not_written error=%s", error)
