"""Watches one engine from its start to its end, and keeps its registration true."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace

from compute_functions import errors, loopback_port
from compute_functions.contract import InstanceState
from compute_functions.engine_client import Call, Engine
from compute_functions.engine_config import EngineConfig
from compute_functions.engine_process import EngineProcess
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.launcher")

START_PROBE_EVERY_S = 0.5
#: A busy engine's health route may be slow; three times in a row is dead (seconds, probes).
HEALTH_TIMEOUT_S = 10.0
HEALTH_FAILURES = 3
#: With the health probe before it this must stay well below the age of a stale registration (s).
PROBE_TIMEOUT_S = 20.0
_PROBE_ANSWER_LIMIT = 1_000_000
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403


class Attendant:
    """Keeps one engine and its registration in step."""

    def __init__(
        self,
        *,
        site: SiteDirectory,
        config: EngineConfig,
        registration: Registration,
        engine: Engine,
    ) -> None:
        self._site = site
        self._config = config
        self._registration = registration
        self._engine = engine

    def move(self, state: InstanceState, detail: str = "") -> None:
        """Register another state."""
        self._registration = replace(self._registration, state=state, detail=detail)
        self._beat()
        log.info("instance_%s name=%s %s", state, self._registration.name, detail)

    async def attend(self, process: EngineProcess, stop: asyncio.Event) -> None:
        """See the engine through start and service until `stop`, or raise `EngineFailed`."""
        ended = asyncio.create_task(process.exited())
        asked = asyncio.create_task(stop.wait())
        try:
            await self._start(process, ended, asked)
            if not asked.done():
                self.move(InstanceState.READY)
                await self._serve(process, ended, asked)
        finally:
            for task in (ended, asked):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def drain(self, process: EngineProcess) -> None:
        """Take the instance out of the routing, let requests under way arrive, end the engine."""
        self.move(InstanceState.DRAINING)
        await asyncio.sleep(self._config.drain_s)
        await process.stop(self._config.stop_grace_s)
        self.move(InstanceState.STOPPED)

    async def _start(
        self, process: EngineProcess, ended: asyncio.Task[int], asked: asyncio.Task[bool]
    ) -> None:
        deadline = time.monotonic() + self._config.start_deadline_s
        beaten = time.monotonic()
        while not await _happened(ended, asked, within_s=START_PROBE_EVERY_S):
            if await self._is_up(process) and await self._works():
                return
            if time.monotonic() > deadline:
                raise errors.EngineFailed(f"not ready within {self._config.start_deadline_s:g} s")
            if time.monotonic() - beaten > self._config.watch_every_s:
                self._beat()
                beaten = time.monotonic()

    async def _serve(
        self, process: EngineProcess, ended: asyncio.Task[int], asked: asyncio.Task[bool]
    ) -> None:
        failures = 0
        while not await _happened(ended, asked, within_s=self._config.watch_every_s):
            failures = 0 if await self._is_up(process) else failures + 1
            if failures == HEALTH_FAILURES:
                raise errors.EngineFailed(f"{failures} health probes in a row failed")
            self._beat()

    async def _is_up(self, process: EngineProcess) -> bool:
        """Whether our engine, and nobody else, listens where it should and says it is well."""
        port = loopback_port.of(self._engine.endpoint)
        if port is not None and not await asyncio.to_thread(
            loopback_port.held_by_session, port, process.process.pid
        ):
            return False
        health = Call(
            method="GET",
            path=self._config.health_path,
            timeout_s=HEALTH_TIMEOUT_S,
            max_bytes=_PROBE_ANSWER_LIMIT,
        )
        return await _status(self._engine, health) == OK

    async def _works(self) -> bool:
        """Ask for as little as can be: some engines report health while they cannot answer.

        On a port, everybody on this host can ask: there an engine that does so without its key is
        one that does not know it.
        """
        probe = self._config.probe_for(self._registration.paths)
        if probe is None:
            return True
        path, smallest = probe
        body, kind = smallest.request(self._registration.model)
        call = Call(
            path=path,
            body=body,
            headers={"content-type": kind},
            timeout_s=PROBE_TIMEOUT_S,
            max_bytes=_PROBE_ANSWER_LIMIT,
        )
        if loopback_port.of(self._engine.endpoint) is not None:
            stranger = await _status(replace(self._engine, api_key=""), call)
            if stranger == OK:
                raise errors.EngineFailed(f"it answers {path} to callers without its key")
            if stranger not in {UNAUTHORIZED, FORBIDDEN}:
                return False
        return await _status(self._engine, call) == OK

    def _beat(self) -> None:
        """Write the registration; a shared disk's bad moment must not end a good engine.

        The next heartbeat writes it again, with the same state.
        """
        self._registration = replace(self._registration, heartbeat=time.time())
        try:
            self._registration.write(self._site)
        except OSError as error:
            log.warning("registration_unwritten name=%s error=%s", self._registration.name, error)


async def _status(engine: Engine, call: Call) -> int | None:
    try:
        return (await engine.send(call)).status
    except errors.CallFailed as error:
        log.debug("probe_failed error=%s", error)
        return None


async def _happened(
    ended: asyncio.Task[int], asked: asyncio.Task[bool], *, within_s: float
) -> bool:
    """Return whether a stop was asked for; an engine that ended by itself is `EngineFailed`."""
    await asyncio.wait({ended, asked}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        raise errors.EngineFailed(f"the engine ended by itself with status {ended.result()}")
    return asked.done()
