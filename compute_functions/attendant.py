"""Watches one engine from its start to its end, and registers what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Protocol

from compute_functions import errors
from compute_functions.contract import InstanceState
from compute_functions.contract.instances import Stage
from compute_functions.contract.relay import EngineLoad
from compute_functions.engine_client import Engine
from compute_functions.engine_config import EngineConfig
from compute_functions.engine_probe import EngineProbe
from compute_functions.engine_process import EngineProcess
from compute_functions.registrar import Fields, Registrar

log = logging.getLogger("hotnode.launcher")

START_PROBE_EVERY_S = 0.5
#: A busy engine's health route may be slow; so many failures in a row are a dead one.
HEALTH_FAILURES = 3
#: An engine that was never ready has nothing to finish, and may be deaf while it loads (seconds).
UNREADY_GRACE_S = 5.0
#: While it drains: how often it is asked again how long it may, which can change (seconds).
_LOOK_AGAIN_S = 0.5


class Companion(Protocol):
    """Serves an engine while it is ready: a relay. It does not raise what happens to it."""

    @property
    def in_flight(self) -> int:
        """How many requests it has under way."""
        ...

    @property
    def load(self) -> EngineLoad | None:
        """What the engine last told of its load; None if it does not."""
        ...

    def start(self) -> None:
        """Begin: the engine is ready."""
        ...

    def drain(self) -> None:
        """Take no new requests."""
        ...

    async def drained(self, within_s: float) -> bool:
        """Wait for the streams under way, at most so long (seconds); tell whether all ended."""
        ...

    async def look(self) -> EngineLoad | None:
        """Ask the engine for its load now."""
        ...


class Ending(Protocol):
    """When an instance ends, and how long it may take. Times are seconds from now.

    `since` is when it began to wait for what is under way (`time.monotonic`). The answers may
    change meanwhile.
    """

    async def asked(self) -> str:
        """Wait until the instance must end; return why, for everybody who may see the model."""
        ...

    def streams_s(self, since: float) -> float:
        """Return how long the relay's streams may still take."""
        ...

    def others_s(self, since: float) -> float:
        """Return how long requests may still take that only the engine knows of."""
        ...

    def engine_s(self, since: float, wanted_s: float) -> float:
        """Return how long the engine may take to end, which would like `wanted_s`."""
        ...


class Attendant:
    """Keeps one engine, its relay and its registration in step."""

    def __init__(
        self,
        *,
        config: EngineConfig,
        registrar: Registrar,
        engine: Engine,
        ending: Ending,
        companion: Companion,
    ) -> None:
        self._config = config
        self._registrar = registrar
        self._engine = engine
        self._ending = ending
        self._companion = companion
        self._was_ready = False
        self._why = ""
        registrar.watch(self._vitals)

    async def attend(self, process: EngineProcess) -> None:
        """See the engine through start and service until its end is asked for.

        Raises `EngineFailed` if it does not start, or ends by itself before.
        """
        probe = EngineProbe(self._config, self._engine, leader=process.process.pid)
        ended = asyncio.create_task(process.exited())
        asked = asyncio.create_task(self._ending.asked())
        try:
            await self._start(probe, ended, asked)
            if not asked.done():
                self._was_ready = True
                now = time.time()
                await self._registrar.move(InstanceState.READY, ready_at=now, healthy_at=now)
                self._companion.start()
                await self._serve(probe, ended, asked)
            self._why = asked.result()
        finally:
            for task in (ended, asked):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def drain(self, process: EngineProcess) -> None:
        """Take the instance out of the routing, let requests under way arrive, end the engine."""
        if self._was_ready:
            # Before the shared disk is waited for: it may be slow, and the hubs are not.
            self._companion.drain()
        await self._registrar.move(InstanceState.DRAINING, self._why)
        since = time.monotonic()
        if self._was_ready:
            await asyncio.sleep(self._config.drain_s)
            since = time.monotonic()
            await self._finish(since)
        await self.end(process, since)
        await self._registrar.move(InstanceState.STOPPED, self._why)

    async def end(self, process: EngineProcess, since: float | None = None) -> None:
        """End the engine within its grace, or sooner: a scheduler may cut that short meanwhile.

        `since` is when what is under way began to be waited for, if it was.
        """
        begun = time.monotonic()
        grace_s = self._config.stop_grace_s
        if not self._was_ready:
            grace_s = min(grace_s, UNREADY_GRACE_S)

        def left_s() -> float:
            allowed_s = self._ending.engine_s(begun if since is None else since, grace_s)
            return min(begun + grace_s - time.monotonic(), allowed_s)

        await process.stop(left_s)

    async def leave(self) -> None:
        """Register the end of an instance whose engine was not started."""
        why = await self._ending.asked()
        await self._registrar.move(InstanceState.DRAINING, why)
        await self._registrar.move(InstanceState.STOPPED, why)

    async def _finish(self, since: float) -> None:
        """Wait for all requests under way, as long as they may take."""
        while not await self._companion.drained(_next_look(self._ending.streams_s(since))):
            if self._ending.streams_s(since) <= 0:
                log.warning("streams_outlast_the_drain count=%s", self._companion.in_flight)
                return
        while self._ending.others_s(since) > 0:
            load = await self._companion.look()
            if load is None or load.running + load.waiting < 1:
                return
            await asyncio.sleep(_next_look(self._ending.others_s(since)))

    async def _start(
        self, probe: EngineProbe, ended: asyncio.Task[int], asked: asyncio.Task[str]
    ) -> None:
        deadline = time.monotonic() + self._config.start_deadline_s
        wrong = ""
        while not await _happened(ended, asked, within_s=START_PROBE_EVERY_S):
            before, wrong = wrong, await _unless(ended, asked, self._wrong(probe))
            if not wrong:
                return
            if wrong != before:
                name = self._registrar.registration.name
                log.info("not_ready_yet name=%s reason=%s", name, wrong)
            if time.monotonic() > deadline:
                limit = f"{self._config.start_deadline_s:g} s"
                raise errors.EngineFailed(f"not ready within {limit}: {wrong}")

    async def _serve(
        self, probe: EngineProbe, ended: asyncio.Task[int], asked: asyncio.Task[str]
    ) -> None:
        failures = 0
        while not await _happened(ended, asked, within_s=self._config.watch_every_s):
            wrong = await _unless(ended, asked, probe.health())
            if ended.done() or asked.done():
                continue
            failures = failures + 1 if wrong else 0
            if failures == HEALTH_FAILURES:
                raise errors.EngineFailed(f"{failures} health probes in a row failed: {wrong}")
            if not wrong:
                self._registrar.note(healthy_at=time.time())

    async def _wrong(self, probe: EngineProbe) -> str:
        """Return what keeps the engine from being ready; nothing if it is."""
        registered = self._registrar.registration
        if wrong := await probe.health():
            return wrong
        if registered.stage is not Stage.WARMUP:
            await self._registrar.reach(Stage.WARMUP)
        return await probe.work(registered.model, registered.paths)

    def _vitals(self) -> Fields:
        """Return how busy the instance is.

        The engine's requests include the relay's, except those that just come or go.
        """
        if not self._was_ready:
            return {}
        load, streams = self._companion.load, self._companion.in_flight
        if load is None:
            return {"running": None, "waiting": None, "in_flight": streams}
        engine = math.ceil(load.running + load.waiting)
        return {
            "running": load.running,
            "waiting": load.waiting,
            "in_flight": max(streams, engine),
        }


def _next_look(left_s: float) -> float:
    return max(0.0, min(left_s, _LOOK_AGAIN_S))


async def _unless(
    ended: asyncio.Task[int], asked: asyncio.Task[str], question: Coroutine[None, None, str]
) -> str:
    """Return the answer, or that it is no longer waited for: an engine may keep a probe long."""
    asking = asyncio.create_task(question)
    try:
        await asyncio.wait({ended, asked, asking}, return_when=asyncio.FIRST_COMPLETED)
        return await asking if asking.done() else "its probe was given up"
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def _happened(ended: asyncio.Task[int], asked: asyncio.Task[str], *, within_s: float) -> bool:
    """Return whether an end was asked for; an engine that ended by itself is `EngineFailed`.

    Whoever asks us to end may have asked the engine as well: a scheduler signals all of a job.
    """
    await asyncio.wait({ended, asked}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    if ended.done() and not asked.done():
        raise errors.EngineFailed(f"the engine ended by itself with status {ended.result()}")
    return asked.done()
