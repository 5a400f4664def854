"""Keeps an instance's registration true: written at every change, and at every heartbeat."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypedDict, Unpack

from compute_functions.contract import InstanceState
from compute_functions.contract.instances import Stage
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.launcher")

#: How often an instance gives a sign of life (seconds).
HEARTBEAT_S = 2.0
#: A shared disk that takes longer is away for now (seconds).
WRITE_WITHIN_S = 20.0
#: What an instance came to has no heartbeat after it: it is tried so often, so far apart (seconds).
_LAST_WORDS, _LAST_WORDS_PAUSE_S = 5, 1.0
_FINAL = frozenset({InstanceState.STOPPED, InstanceState.FAILED})


class Fields(TypedDict, total=False):
    """What of a registration changes while its instance lives."""

    state: InstanceState
    detail: str
    stage: Stage | None
    heartbeat: float
    ready_at: float | None
    ends_at: float | None
    healthy_at: float | None
    running: float | None
    waiting: float | None
    in_flight: int | None
    credentials_left: int | None
    gpu_percent: float | None


#: What is looked up at each heartbeat.
Vitals = Callable[[], Fields]


class Registrar:
    """The one writer of an instance's registration."""

    def __init__(
        self, site: SiteDirectory, registration: Registration, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._site = site
        self._registration = replace(registration, heartbeat_s=heartbeat_s)
        self._vitals: list[Vitals] = []
        self._writing = asyncio.Lock()
        self._put: asyncio.Task[None] | None = None

    @property
    def registration(self) -> Registration:
        """What was registered last."""
        return self._registration

    def watch(self, vitals: Vitals) -> None:
        """Look something up at each heartbeat from now on."""
        self._vitals.append(vitals)

    def note(self, **fields: Unpack[Fields]) -> None:
        """Change fields; the next heartbeat tells."""
        self._registration = replace(self._registration, **fields)

    async def move(
        self, state: InstanceState, detail: str = "", /, **fields: Unpack[Fields]
    ) -> None:
        """Register another state at once; `detail` is for everybody who may see the model."""
        self.note(state=state, detail=detail, stage=None)
        self.note(**fields)
        written = await self._write()
        if state in _FINAL:
            await self._insist(written)
        found = self._registration
        log.info("instance_%s name=%s log=%s %s", state, found.name, found.log_file, detail)

    async def reach(self, stage: Stage) -> None:
        """Register at once how far an instance that starts has come."""
        self.note(stage=stage, detail="")
        await self._write()
        log.info("stage_%s name=%s", stage, self._registration.name)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Write heartbeats beside the body."""
        over = asyncio.Event()
        task = asyncio.create_task(self._beat(over), name="heartbeat")
        try:
            yield
        finally:
            # Not cancelled: a thread may be writing, and must not write over what comes after it.
            over.set()
            await task

    async def _beat(self, over: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(self._registration.heartbeat_s):
                    await over.wait()
            except TimeoutError:
                await self._write()
            else:
                return

    async def _insist(self, written: bool) -> None:
        tries = 1
        while not written and tries < _LAST_WORDS:
            await asyncio.sleep(_LAST_WORDS_PAUSE_S)
            written = await self._write()
            tries += 1

    async def _write(self) -> bool:
        """Write the registration; a shared disk's bad moment must not end a good engine.

        It is written in a thread, so that no stream waits for the disk.
        """
        async with self._writing:
            name = self._registration.name
            try:
                async with asyncio.timeout(WRITE_WITHIN_S):
                    await self._put_down()
            except TimeoutError:
                log.warning("registration_unwritten name=%s after=%g s", name, WRITE_WITHIN_S)
            except OSError as error:
                log.warning("registration_unwritten name=%s error=%s", name, error)
            else:
                return True
            return False

    async def _put_down(self) -> None:
        """Write what is true now, once the thread is back that was given up before, if one was.

        It cannot be stopped, and must not write over what comes after it.
        """
        if self._put is not None:
            await asyncio.wait({self._put})
            # What it came to was logged when it was given up.
            self._put.exception()
        for vitals in self._vitals:
            self.note(**vitals())
        self.note(heartbeat=time.time())
        self._put = asyncio.create_task(asyncio.to_thread(self._registration.write, self._site))
        await asyncio.wait({self._put})
        self._put.result()
