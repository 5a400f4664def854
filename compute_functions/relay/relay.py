"""The relay of one instance: a link to each hub, and one client of the engine for all of them.

It also reads the engine's load, for the hubs and for whoever asks; so it does at a site without
hubs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from compute_functions.contract.relay import EngineLoad
from compute_functions.engine_client import Engine
from compute_functions.engine_config import LoadMetrics
from compute_functions.relay.credentials import CredentialSource
from compute_functions.relay.dialling import dialler
from compute_functions.relay.engine_calls import CallerWatch, EngineCalls
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.link import Link
from compute_functions.relay.load import LoadReader
from compute_functions.relay.streams import Service
from compute_functions.relay.supervision import Work, kept_running
from compute_functions.relay.times import Times

log = logging.getLogger("hotnode.relay")

#: Hanging up on hubs and engine takes less (seconds).
STOP_WITHIN_S = 10.0
_TIMES = Times()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a relay serves: an instance's name, its engine, and what callers may ask of it.

    `paths` maps what callers may ask for to the engine's own; `load` is where it tells its load;
    `watch` is told how callers fare.
    """

    instance: str
    engine: Engine
    paths: Mapping[str, str]
    load: LoadMetrics | None = None
    watch: CallerWatch | None = None


class Relay:
    """Runs beside an engine, from `start` to `stop`; nothing that happens to it is raised."""

    def __init__(
        self,
        served: Served,
        *,
        enrolment: Enrolment,
        credentials: CredentialSource,
        times: Times = _TIMES,
    ) -> None:
        self._calls = EngineCalls(served.engine, served.watch)
        self._service = Service(calls=self._calls, paths=served.paths)
        self._ca_file = enrolment.ca_file
        self._reader = LoadReader(self._calls, served.load) if served.load else None
        self._known: EngineLoad | None = None
        self._times = times
        self._task: asyncio.Task[None] | None = None
        self._links = [
            Link(
                hub,
                instance=served.instance,
                service=self._service,
                credentials=credentials,
                times=times,
            )
            for hub in enrolment.hubs
        ]

    @property
    def in_flight(self) -> int:
        """How many requests are under way on all links."""
        return sum(link.streams for link in self._links)

    @property
    def load(self) -> EngineLoad | None:
        """What the engine last told of its load; None if it does not."""
        return self._known

    def start(self) -> None:
        """Begin to dial, and to read the engine's load."""
        if self._links or self._reader:
            self._task = asyncio.create_task(self._kept("relay", self._run))

    async def look(self) -> EngineLoad | None:
        """Ask the engine for its load now."""
        self._known = await self._reader.read() if self._reader else None
        return self._known

    def drain(self) -> None:
        """Take no new requests, and say so to the hubs."""
        self._service.draining = True
        for link in self._links:
            link.drain()

    async def drained(self, within_s: float) -> bool:
        """Wait for the streams under way, at most so long (seconds); tell whether all ended."""
        try:
            async with asyncio.timeout(within_s):
                for link in self._links:
                    await link.drained()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the links; returns when nothing runs any more.

        The engine may just have gone: what its streams came to is still told.
        """
        if self._task is not None:
            self.drain()
            if not await self.drained(self._times.last_words_s):
                log.warning("streams_cut count=%s", self.in_flight)
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_WITHIN_S)
            if not self._task.done():
                log.error("relay_does_not_stop within_s=%g", STOP_WITHIN_S)

    async def _run(self) -> None:
        async with (
            self._calls,
            dialler(self._times, self._ca_file) as dials,
            asyncio.TaskGroup() as tasks,
        ):
            for link in self._links:
                tasks.create_task(self._kept("link", partial(link.run, dials)))
            if self._reader is not None:
                tasks.create_task(self._kept("load", self._watch_load))

    async def _watch_load(self) -> None:
        told: EngineLoad | None = None
        while True:
            load = await self.look()
            if load is not None and load != told:
                told = load
                for link in self._links:
                    link.report(load)
            await asyncio.sleep(self._times.load_every_s)

    async def _kept(self, name: str, work: Work) -> None:
        await kept_running(work, name=name, pause_s=self._times.restart_pause_s)
