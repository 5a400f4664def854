"""Watches one engine from its start to its end, and keeps its registration true."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from compute_functions import errors
from compute_functions.contract import InstanceState
from compute_functions.engine_client import Engine
from compute_functions.engine_config import EngineConfig
from compute_functions.engine_probe import EngineProbe
from compute_functions.engine_process import EngineProcess
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.launcher")

START_PROBE_EVERY_S = 0.5
#: A busy engine's health route may be slow; so many failures in a row are a dead one.
HEALTH_FAILURES = 3
#: An engine that was never ready has nothing to finish, and may be deaf while it loads (seconds).
UNREADY_GRACE_S = 5.0
#: Of the engine's grace so much is kept for its own end, when streams take long (seconds).
ENDING_S = 5.0


class Companion(Protocol):
    """Serves an engine while it is ready: a relay. It does not raise what happens to it."""

    def start(self) -> None:
        """Begin: the engine is ready."""
        ...

    def drain(self) -> None:
        """Take no new requests."""
        ...

    async def drained(self, within_s: float) -> None:
        """Wait for the streams under way, at most so long (seconds)."""
        ...


class Attendant:
    """Keeps one engine and its registration in step."""

    def __init__(
        self,
        *,
        site: SiteDirectory,
        config: EngineConfig,
        registration: Registration,
        engine: Engine,
        companion: Companion | None = None,
    ) -> None:
        self._site = site
        self._config = config
        self._registration = registration
        self._engine = engine
        self._companion = companion
        self._was_ready = False

    @property
    def grace_s(self) -> float:
        """How long the engine may take to end (seconds)."""
        grace_s = self._config.stop_grace_s
        return grace_s if self._was_ready else min(grace_s, UNREADY_GRACE_S)

    def move(self, state: InstanceState, detail: str = "") -> None:
        """Register another state; `detail` is for everybody who may see the model."""
        self._registration = replace(self._registration, state=state, detail=detail)
        self._was_ready = self._was_ready or state is InstanceState.READY
        self._beat()
        log.info(
            "instance_%s name=%s log=%s %s",
            state,
            self._registration.name,
            self._registration.log_file,
            detail,
        )

    async def attend(self, process: EngineProcess, stop: asyncio.Event) -> None:
        """See the engine through start and service until `stop`, or raise `EngineFailed`."""
        probe = EngineProbe(self._config, self._engine, leader=process.process.pid)
        ended = asyncio.create_task(process.exited())
        asked = asyncio.create_task(stop.wait())
        try:
            await self._start(probe, ended, asked)
            if not asked.done():
                self.move(InstanceState.READY)
                if self._companion is not None:
                    self._companion.start()
                await self._serve(probe, ended, asked)
        finally:
            for task in (ended, asked):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def drain(self, process: EngineProcess) -> None:
        """Take the instance out of the routing, let requests under way arrive, end the engine."""
        self.move(InstanceState.DRAINING)
        grace_s = self.grace_s
        if self._was_ready:
            grace_s -= await self._finish(grace_s)
        await process.stop(grace_s)
        self.move(InstanceState.STOPPED)

    async def _finish(self, grace_s: float) -> float:
        """Let requests arrive and streams end; return how much of the grace that took (seconds)."""
        if self._companion is not None:
            self._companion.drain()
        await asyncio.sleep(self._config.drain_s)
        if self._companion is None:
            return 0.0
        began = time.monotonic()
        await self._companion.drained(max(0.0, grace_s - ENDING_S))
        return time.monotonic() - began

    async def _start(
        self, probe: EngineProbe, ended: asyncio.Task[int], asked: asyncio.Task[bool]
    ) -> None:
        deadline = time.monotonic() + self._config.start_deadline_s
        beaten, wrong = time.monotonic(), ""
        while not await _happened(ended, asked, within_s=START_PROBE_EVERY_S):
            before, wrong = wrong, await _unless(ended, asked, self._wrong(probe))
            if not wrong:
                return
            if wrong != before:
                log.info("not_ready_yet name=%s reason=%s", self._registration.name, wrong)
            if time.monotonic() > deadline:
                limit = f"{self._config.start_deadline_s:g} s"
                raise errors.EngineFailed(f"not ready within {limit}: {wrong}")
            if time.monotonic() - beaten > self._config.watch_every_s:
                self._beat()
                beaten = time.monotonic()

    async def _serve(
        self, probe: EngineProbe, ended: asyncio.Task[int], asked: asyncio.Task[bool]
    ) -> None:
        failures = 0
        while not await _happened(ended, asked, within_s=self._config.watch_every_s):
            wrong = await probe.health()
            failures = failures + 1 if wrong else 0
            if failures == HEALTH_FAILURES:
                raise errors.EngineFailed(f"{failures} health probes in a row failed: {wrong}")
            self._beat()

    async def _wrong(self, probe: EngineProbe) -> str:
        """Return what keeps the engine from being ready; nothing if it is."""
        return await probe.health() or await probe.work(
            self._registration.model, self._registration.paths
        )

    def _beat(self) -> None:
        """Write the registration; a shared disk's bad moment must not end a good engine.

        The next heartbeat writes it again, with the same state.
        """
        self._registration = replace(self._registration, heartbeat=time.time())
        try:
            self._registration.write(self._site)
        except OSError as error:
            log.warning("registration_unwritten name=%s error=%s", self._registration.name, error)


async def _unless(
    ended: asyncio.Task[int], asked: asyncio.Task[bool], question: Coroutine[None, None, str]
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


async def _happened(
    ended: asyncio.Task[int], asked: asyncio.Task[bool], *, within_s: float
) -> bool:
    """Return whether a stop was asked for; an engine that ended by itself is `EngineFailed`."""
    await asyncio.wait({ended, asked}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        raise errors.EngineFailed(f"the engine ended by itself with status {ended.result()}")
    return asked.done()
