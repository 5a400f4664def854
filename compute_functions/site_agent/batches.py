"""The agent's batches: looked at in each of its looks, decided on, and told to instances.

What goes wrong here is trouble of its own: models are kept all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from batch.control import Control
from compute_functions.batch_keeper import desk, expecting, terms
from compute_functions.batch_keeper.chores import Chores
from compute_functions.batch_keeper.desk import Desk, Read
from compute_functions.batch_keeper.hosts import Hosts
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_keeper.runners import Runners
from compute_functions.batch_keeper.scene import Claim, Host, Scene, Standing
from compute_functions.batch_keeper.shares import HALF_LIFE_S, Recorded, Shares
from compute_functions.batch_keeper.turns import Decision, decide
from compute_functions.batch_settings import BatchSettings
from compute_functions.batch_spool import checking
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.batch_spool.folders import Spool
from compute_functions.batch_spool.view import BatchView
from compute_functions.contract import ModelOutlook
from compute_functions.contract.lifecycle import FOR_BATCHES, Demand, DesiredState
from compute_functions.errors import DiskFailed, LeaseLost
from compute_functions.reconciler.member import Member
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent import json_file
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.setup import Setup
from compute_functions.site_agent.troubles import Troubles

log = logging.getLogger("hotnode.batches")

#: Under this name batches are among those who want models; no hub is called so.
HUB = "the site's batches"
#: Shares are written down so often (seconds): after a crash so much is charged anew.
SHARES_EVERY_S = 10.0
#: Of so many batches at once it is told what holds them up.
_FEW = 3
_NOT_DESIRED = "no gateway wants its model here any more"


class AgentBatches:
    """The batches of a site that takes some, while its agent holds the lease.

    `changed` is called when a runner beside the agent begins or ends: another look may do more.
    """

    def __init__(
        self,
        setup: Setup,
        settings: BatchSettings,
        *,
        disk: Disk,
        troubles: Troubles,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._setup = setup
        self._settings = settings
        self._disk = disk
        self._troubles = troubles
        self._spool = Spool.of(setup.site)
        self._desk = Desk(self._spool, require=setup.lease.require)
        self._hosts = Hosts(setup.policy, clock=setup.clock)
        self._chores = Chores(self._spool, settings, self._desk)
        self._runners = Runners(self._spool, target=Target, changed=changed)
        self._shares = Shares()
        #: How much of whose inputs was looked through, in bytes; the next agent begins anew.
        self._examined = Shares()
        self._saved_at = setup.clock()
        self.demand = Demand(hub=HUB)
        #: Whether an engine loads for which a batch waits.
        self.expects = False

    async def load(self) -> None:
        """Read what the agent before knew; raises `DiskFailed`."""
        await self._disk.do(self._spool.prepare)
        wire = await self._disk.do(partial(json_file.read, self._shares_file))
        self._shares = Shares.from_wire(wire)

    @property
    def _shares_file(self) -> Path:
        return self._setup.site.agent / "batch_shares.json"

    async def look(
        self,
        members: Collection[Member],
        desired: DesiredState | None,
        outlooks: Iterable[ModelOutlook],
    ) -> None:
        """Look once, decide, and tell. Raises `LeaseLost`; what else goes wrong is trouble."""
        looking = asyncio.create_task(self._look(members, desired, outlooks), name="batches")
        try:
            await asyncio.wait({looking})
        finally:
            if not looking.done():
                looking.cancel()
                await asyncio.wait({looking})
        error = looking.exception()
        if isinstance(error, LeaseLost):
            raise error
        fault = error is not None and not isinstance(error, DiskFailed)
        text = f"batches stand still: {error!r}" if fault else str(error or "")
        self._troubles.note("batches", text, cause=error if fault else None)

    async def close(self) -> None:
        """End what runs beside the agent, and write down the shares if the lease is ours."""
        await self._runners.close()
        with contextlib.suppress(DiskFailed, LeaseLost):  # They are of the last ten seconds.
            await self._disk.do(partial(self._setup.mine, self._save))

    async def _look(
        self,
        members: Collection[Member],
        desired: DesiredState | None,
        outlooks: Iterable[ModelOutlook],
    ) -> None:
        names = [member.instance for member in members]
        # First who runs beside the agent: what a runner wrote before it ended is read after that.
        runs = {run.batch: run for run in self._runners.runs}
        read = await self._disk.do(partial(self._desk.read, names))
        now = self._setup.now()
        self._shares = self._shares.charge(_recorded(read.views.values()), now=now)
        self._examined = self._examined.charge(_examined(read.views.values(), now), now=now)
        own = _with_instances_of_their_own(desired)
        claims = tuple(
            self._claim(view, own, now) for view in read.views.values() if view.wants_runner
        )
        waits = _waits({claim.key for claim in claims}, desired, outlooks)
        at_desk = Host(instance=DESK, key=None, standing=Standing.READY, runs=runs)
        hosts = {**self._hosts.of(members, read.working), DESK: at_desk}
        scene = Scene(
            now=now,
            claims=claims,
            hosts=hosts,
            shares=self._shares,
            examined=self._examined,
            turns=self._settings.runners_per_instance,
            quantum_s=self._settings.quantum_s,
            waits=waits,
        )
        decision = decide(scene)
        self.expects = expecting.expects(scene, decision, members)
        alone = {name for name, host in hosts.items() if host.key and host.key.purpose}
        write = partial(self._write, decision, read, names=names, alone=alone, now=now)
        states = await self._disk.do(write)
        self._note(decision)
        self._work_at_desk(desk.at_desk(states))
        running = {batch for batch, state in states.items() if state.instance is not None}
        self._chores.begin(read.views, running=running, instances=names, now=now)

    def _claim(self, view: BatchView, own: Collection[ModelKey], now: float) -> Claim:
        order, state = view.order, view.state or AgentState(fence=0)
        key = ModelKey(order.model, order.framework, FOR_BATCHES)
        return Claim(
            batch=order.batch,
            key=key if key in own else ModelKey(order.model, order.framework),
            share_of=order.share_of,
            created_at=order.created_at,
            state=state,
            ends=view.cancelled or order.expires_at <= now or bool(state.given_up),
            unexamined=view.wants_examination,
            recorded=view.recorded,
            refusal=_refusal(view),
        )

    def _write(
        self,
        decision: Decision,
        read: Read,
        *,
        names: Collection[str],
        alone: Collection[str],
        now: float,
    ) -> dict[str, AgentState]:
        """Write what was decided; in `alone` are the instances that no caller uses."""

        def bounds(view: BatchView) -> Control:
            state = decision.states[view.order.batch]
            own = self._bounds(view, alone=state.instance in alone)
            return replace(own, given_up=state.given_up)

        fence = self._setup.lease.fence
        states = self._desk.carry_out(decision, read.views, bounds=bounds, fence=fence, now=now)
        # Who takes batches, or was given some: others need not be told of nothing.
        given = {state.instance for state in states.values()}
        told = [name for name in names if name in read.working or name in given]
        self._desk.tell(states, told, fence=fence)
        if self._setup.clock() - self._saved_at >= SHARES_EVERY_S:
            self._setup.mine(self._save)
        return states

    def _bounds(self, view: BatchView, *, alone: bool) -> Control:
        order = view.order
        said = self._setup.models.batch_terms(order.model, order.framework)
        return terms.control(order, said, self._settings, alone=alone)

    def _save(self) -> None:
        json_file.write(self._shares_file, self._shares.to_wire())
        self._saved_at = self._setup.clock()

    def _note(self, decision: Decision) -> None:
        self.demand = Demand(hub=HUB, models=decision.demand)
        told, more = decision.troubles[:_FEW], len(decision.troubles) - _FEW
        text = "; ".join(told) + (f"; and {more} more" if more > 0 else "")
        self._troubles.note("batch runners", text)

    def _work_at_desk(self, wanted: Mapping[str, int]) -> None:
        """Have runners beside the agent look inputs through, and write out results."""
        for batch, epoch in wanted.items():
            if not self._runners.has(batch, epoch):
                self._runners.begin(batch, epoch)


def _recorded(views: Iterable[BatchView]) -> Iterable[Recorded]:
    for view in views:
        told = view.outcome or view.progress
        if told is None:
            continue
        tokens = told.use.input_tokens + told.use.output_tokens
        yield _charged(view, tokens or told.completed + told.failed)


def _examined(views: Iterable[BatchView], now: float) -> Iterable[Recorded]:
    """Yield whose large inputs are being looked through, or were lately, in bytes; wrong ones too.

    Not of batches that are over for long: an agent that begins would take them for new ones.
    """
    for view in views:
        size = view.input_bytes or 0
        is_past = view.ended_at is not None and now - view.ended_at > HALF_LIFE_S
        if view.began and size > checking.AT_ONCE_BYTES and not is_past:
            yield _charged(view, size)


def _charged(view: BatchView, units: int) -> Recorded:
    order = view.order
    return Recorded(batch=order.batch, share_of=order.share_of, weight=order.weight, units=units)


def _refusal(view: BatchView) -> str:
    """Return why the runner that had the batch last gave up its engine, if that refused all."""
    state, progress = view.state, view.progress
    if state is None or progress is None or progress.epoch != state.epoch:
        return ""
    return progress.refusal


def _with_instances_of_their_own(desired: DesiredState | None) -> set[ModelKey]:
    """Return the models whose batches have instances that are for nobody else."""
    models = desired.models if desired else ()
    return {ModelKey.of(model) for model in models if model.purpose == FOR_BATCHES}


def _waits(
    keys: Collection[ModelKey], desired: DesiredState | None, outlooks: Iterable[ModelOutlook]
) -> dict[ModelKey, str]:
    """Return why models do not run, as far as anybody knows."""
    wanted = {ModelKey.of(model) for model in desired.models} if desired else set()
    waits = dict.fromkeys(set(keys) - wanted, _NOT_DESIRED)
    for outlook in outlooks:
        if said := outlook.refused or outlook.waits:
            waits[ModelKey.of(outlook)] = f"its model does not run: {said}"
    return waits
