"""What the agent reads of batches and writes for them, in one go each: it blocks, in a thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from batch.control import Control
from compute_functions.batch_keeper import giving_up
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.turns import Decision
from compute_functions.batch_keeper.working import Working
from compute_functions.batch_spool import control, fate
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.batch_spool.folders import Spool
from compute_functions.batch_spool.look import SpoolLook
from compute_functions.batch_spool.view import BatchView

log = logging.getLogger("hotnode.batches")

#: What an instance said, or was told, is kept so long after it was last seen (seconds).
KEPT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What stands in the spool: every batch, and what each instance says that it works on."""

    views: Mapping[str, BatchView] = field(default_factory=dict)
    working: Mapping[str, Working] = field(default_factory=dict)


class Desk:
    """Remembers what it wrote, so that nothing is written twice.

    Not for several threads, but for `sweep`, which remembers nothing.
    """

    def __init__(self, spool: Spool, *, require: Callable[[], None]) -> None:
        self._spool = spool
        #: Raises `LeaseLost`: before everything that is written.
        self._require = require
        self._look = SpoolLook(spool)
        self._told: dict[str, Assignments] = {}
        self._controls: dict[str, Control] = {}

    def read(self, instances: Iterable[str]) -> Read:
        """Return what there is. `OSError` if the disk does not answer."""
        # First what they work on: what a runner wrote before it ended is read after that.
        found = {name: Working.read(self._spool, name) for name in instances}
        working = {name: one for name, one in found.items() if one is not None}
        return Read(views=self._look.read(), working=working)

    def carry_out(
        self,
        decision: Decision,
        views: Mapping[str, BatchView],
        *,
        bounds: Callable[[BatchView], Control],
        fence: int,
        now: float,
    ) -> dict[str, AgentState]:
        """Write what was decided, and return how each batch stands for all who look."""
        for batch, reason in decision.failed.items():
            self._require()
            log.error("batch_failed batch=%s reason=%s", batch, reason)
            giving_up.fail(views[batch], reason, now=now)
        states: dict[str, AgentState] = {}
        # Who is taken from an instance first: it must not be on two at once.
        changed = sorted(decision.states.items(), key=lambda one: one[0] in decision.assigned)
        for batch, state in changed:
            view = views[batch]
            with suppress(FileNotFoundError):  # It was forgotten meanwhile, and removed.
                states[batch] = self._put(view, state, decision, fence=fence, now=now)
                if state.instance is not None:
                    self._bound(view, bounds(view))
        self._controls = {batch: one for batch, one in self._controls.items() if batch in views}
        return states

    def _put(
        self, view: BatchView, state: AgentState, decision: Decision, *, fence: int, now: float
    ) -> AgentState:
        known = view.state or AgentState(fence=0)
        if view.order.batch in decision.assigned:
            self._require()
            if not fate.begin(view.folder, now=now):
                return known  # It was cancelled a moment ago.
            epoch = max(state.epoch, view.folder.highest_epoch()) + 1
            state = replace(state, epoch=epoch)
            log.info(
                "batch_assigned batch=%s instance=%s epoch=%d",
                view.order.batch,
                state.instance,
                epoch,
            )
        elif state == known:
            return known
        elif state.instance != known.instance:
            log.info("batch_waits batch=%s was_on=%s", view.order.batch, known.instance)
        self._require()
        state = replace(state, fence=fence)
        state.write(view.folder)
        return state

    def _bound(self, view: BatchView, wanted: Control) -> None:
        """Tell a runner its bounds, unless it was told."""
        if self._controls.get(view.order.batch) == wanted:
            return
        self._require()
        control.write(view.folder, wanted)
        self._controls[view.order.batch] = wanted

    def tell(
        self, states: Mapping[str, AgentState], instances: Collection[str], *, fence: int
    ) -> None:
        """Tell each instance what it is to work on."""
        wanted: dict[str, dict[str, int]] = {name: {} for name in instances}
        for batch, state in states.items():
            if state.instance in wanted:
                wanted[state.instance][batch] = state.epoch
        for name, epochs in sorted(wanted.items(), key=lambda one: len(one[1])):
            said = Assignments(fence=fence, epochs=epochs)
            if self._told.get(name) != said:
                self._require()
                said.write(self._spool, name)
                self._told[name] = said
        self._told = {name: said for name, said in self._told.items() if name in wanted}

    def sweep(self, instances: Collection[str], *, now: float) -> None:
        """Remove what stands for instances that are no more."""
        for folder in (self._spool.assigned_folder, self._spool.working_folder):
            for path in _files(folder):
                if path.stem not in instances and now - path.stat().st_mtime > KEPT_S:
                    path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return [*folder.glob("*.json"), *folder.glob(".*.json.*")]


def at_desk(states: Mapping[str, AgentState]) -> dict[str, int]:
    """Return the epochs of the batches that runners beside the agent are to work on."""
    return {batch: state.epoch for batch, state in states.items() if state.instance == DESK}
