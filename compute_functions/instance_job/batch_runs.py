"""The node's part in batches: runners beside the engine, begun and ended as the agent says.

Runners are children that end with this process, and with the instance's drain: what they have
under way then has a while, and is asked again elsewhere if that is too short.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from batch import whole_file
from batch.rules import ENDPOINTS
from compute_functions import private_file
from compute_functions.attendant import Companion
from compute_functions.batch_keeper.assignments import Assignments
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_keeper.runners import Runners
from compute_functions.batch_keeper.working import Working
from compute_functions.batch_settings import BatchSettings
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.contract.relay import EngineLoad
from compute_functions.engine_run import Batches
from compute_functions.instance_job.batch_allowance import BatchAllowance
from compute_functions.instances import Registration
from compute_functions.launch import Launch
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.batches")

#: How often it is looked at what the agent says (seconds).
LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose runners they are: an instance, its engine, and a folder of the node's own."""

    spool: Spool
    instance: str
    target: Target
    folder: Path

    @property
    def load_file(self) -> Path:
        """Where runners read how many interactive requests there are: on the node's own disk."""
        return self.folder / "load.json"


class BatchRuns:
    """An `attendant.Companion` around the one of the callers: batches use the engine beside them.

    What it tells of the load is the callers' alone: lines of batches are no reason for another
    instance, nor to keep this one, for the agent counts batches itself.
    """

    def __init__(self, place: Place, callers: Companion, allowance: BatchAllowance) -> None:
        self._place = place
        self._callers = callers
        self._allowance = allowance
        self._target = replace(place.target, load_file=place.load_file)
        self._runners = Runners(place.spool, target=lambda: self._target, changed=self._note_change)
        self._fence = 0
        self._wanted: dict[str, int] = {}
        self._lines = 0
        self._told: Working | None = None
        self._troubles: dict[str, str] = {}
        self._is_serving = False
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many requests of callers are under way."""
        return self._callers.in_flight

    @property
    def load(self) -> EngineLoad | None:
        """What the engine last told of its load, without the lines of batches."""
        return self._of_callers(self._callers.load)

    def start(self) -> None:
        """Begin: the engine is ready."""
        self._callers.start()
        self._is_serving = True
        self._begun.set()

    def drain(self) -> None:
        """Take no new requests, and begin no more lines."""
        self._callers.drain()
        self._is_serving = False
        self._runners.leave_all()

    async def drained(self, within_s: float) -> bool:
        """Wait for the callers' requests and for the runners, at most so long (seconds)."""
        began = time.monotonic()
        if not await self._callers.drained(within_s):
            return False
        return await self._runners.left(within_s - (time.monotonic() - began))

    async def look(self) -> EngineLoad | None:
        """Ask the engine for its load now: all of it, for this is about when it may end."""
        return await self._callers.look()

    async def run(self) -> None:
        """Look at what the agent says, until cancelled; then nothing of it runs any more."""
        # By the time that the engine is ready the agent knows whom it may give batches to.
        with suppress(OSError):  # It is told again then.
            await asyncio.to_thread(Working().write, self._place.spool, self._place.instance)
        await self._begun.wait()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_telling_runners(), name="callers, for runners")
                await self._keep_looking()
        finally:
            await self._runners.close()
            with suppress(OSError):  # Nobody reads of an instance that has ended but people.
                await asyncio.to_thread(self._tell_agent)

    async def _keep_looking(self) -> None:
        while True:
            self._wake.clear()
            # A disk's bad moment ends no runner.
            self._note("spool", await _trouble(self._look()))
            self._note("agent", await _trouble(asyncio.to_thread(self._tell_agent)))
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue  # Nothing happened: it is time to look again.

    async def _look(self) -> None:
        self._heed(await asyncio.to_thread(self._read))
        await self._follow()

    async def _keep_telling_runners(self) -> None:
        """Tell runners of callers, on the node's own disk, also while the shared one hangs."""
        while True:
            # Also without runners: callers are alone then.
            said = self._said()
            if self._runners.active:
                self._note("load", await _trouble(asyncio.to_thread(self._tell_load, said)))
            await asyncio.sleep(LOOK_S)

    def _note(self, what: str, trouble: str) -> None:
        """Log what a disk said, unless it is what it said before."""
        if trouble and trouble != self._troubles.get(what):
            log.warning("batches_not_seen name=%s error=%s", self._place.instance, trouble)
        self._troubles[what] = trouble

    def _read(self) -> Assignments | None:
        """Read what is to be done, and how many lines are under way."""
        active = (run.batch for run in self._runners.runs if run.pid and run.status is None)
        self._lines = sum(_under_way(self._place.spool.folder(batch)) for batch in active)
        return Assignments.read(self._place.spool, self._place.instance)

    def _heed(self, told: Assignments | None) -> None:
        """Take the agent's word, unless it is one of an agent before the last."""
        if told is not None and told.fence >= self._fence:
            self._fence, self._wanted = told.fence, dict(told.epochs)

    async def _follow(self) -> None:
        for run in self._runners.runs:
            # One may have been begun just while this instance was told to drain.
            is_wanted = self._is_serving and self._wanted.get(run.batch) == run.epoch
            if run.status is None and not is_wanted:
                self._runners.leave(run.batch)
        if not self._is_serving:
            return
        for batch, epoch in self._wanted.items():
            if not self._runners.has(batch, epoch):
                # It reads this first.
                await asyncio.to_thread(self._tell_load, self._said())
                self._runners.begin(batch, epoch)

    def _tell_agent(self) -> None:
        # Not of one that the disk does not let begin: the agent has that batch done elsewhere.
        told = (run for run in self._runners.runs if run.pid or run.status is not None)
        working = Working(tuple(told))
        if working != self._told:
            working.write(self._place.spool, self._place.instance)
            self._told = working

    def _tell_load(self, said: dict[str, float]) -> None:
        private_file.write(self._place.load_file, json.dumps(said))

    def _said(self) -> dict[str, float]:
        """Look at what batches may take, and return how callers are, for runners."""
        now = time.monotonic()
        # Whoever asks again and again is there, also between two requests.
        callers = self._callers.in_flight
        present = max(callers, int(self._allowance.has_callers(now)))
        allowance = self._allowance.look(
            now, runners=self._runners.active, lines=self._lines, callers=callers
        )
        return {"interactive": present, "allowance": allowance, "at": time.time()}

    def _of_callers(self, load: EngineLoad | None) -> EngineLoad | None:
        """Return what of the engine's load is the callers', as near as can be known.

        Lines wait behind requests where the engine knows priorities: of what waits they come first.
        """
        if load is None or not self._runners.active:
            return load
        waiting = max(0.0, load.waiting - self._lines)
        lines_left = max(0.0, self._lines - load.waiting)
        # What comes and goes between two looks is nobody's: callers are counted besides.
        return EngineLoad(running=max(0.0, load.running - lines_left), waiting=waiting)

    def _note_change(self) -> None:
        self._wake.set()


async def _trouble(work: Awaitable[None]) -> str:
    """Return what a disk said; nothing if all went well."""
    try:
        await work
    except OSError as error:
        return str(error)
    return ""


def _under_way(folder: BatchFolder) -> int:
    """Return how many lines of a batch the engine has; runners say so every second."""
    told = whole_file.read_object(folder.progress)
    count = None if told is None else told.get("under_way")
    return count if isinstance(count, int) else 0


def work(launch: Launch, settings: BatchSettings) -> Batches:
    """Return how an instance works on batches."""
    allowance = BatchAllowance(settings.slowdown)

    def made(callers: Companion, registration: Registration, folder: Path) -> BatchRuns:
        return BatchRuns(place(launch, registration, folder), callers, allowance)

    return Batches(made=made, watch=allowance)


def place(launch: Launch, registration: Registration, folder: Path) -> Place:
    """Return whose runners they are, and how these reach the engine: as it is registered."""
    target = Target(
        endpoint=registration.endpoint,
        key_file=Path(registration.api_key_file),
        paths={path: own for path, own in registration.paths.items() if path in ENDPOINTS},
        priority=launch.engine.batch_priority,
    )
    spool = Spool.of(SiteDirectory(launch.site.root.absolute()))
    return Place(spool=spool, instance=registration.name, target=target, folder=folder)
