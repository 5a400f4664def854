"""The relay of one instance: a link to each hub, and one client of the engine for all of them."""

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
from compute_functions.relay.engine_calls import EngineCalls
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

    `paths` maps what callers may ask for to the engine's own; `load` is where it tells its load.
    """

    instance: str
    engine: Engine
    paths: Mapping[str, str]
    load: LoadMetrics | None = None


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
        self._calls = EngineCalls(served.engine)
        self._service = Service(calls=self._calls, paths=served.paths)
        self._ca_file = enrolment.ca_file
        self._load = served.load
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

    def start(self) -> None:
        """Begin to dial."""
        self._task = asyncio.create_task(self._kept("relay", self._run))

    def drain(self) -> None:
        """Take no new requests, and say so to the hubs."""
        self._service.draining = True
        for link in self._links:
            link.drain()

    async def drained(self, within_s: float) -> None:
        """Wait for the streams under way, at most so long (seconds)."""
        try:
            async with asyncio.timeout(within_s):
                for link in self._links:
                    await link.drained()
        except TimeoutError:
            log.warning("streams_outlast_the_drain within_s=%g", within_s)

    async def stop(self) -> None:
        """End the links; returns when nothing runs any more.

        The engine may just have gone: what its streams came to is still told.
        """
        if self._task is not None:
            self.drain()
            await self.drained(self._times.last_words_s)
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
            if self._load is not None:
                watch = partial(self._watch_load, LoadReader(self._calls, self._load))
                tasks.create_task(self._kept("load", watch))

    async def _watch_load(self, reader: LoadReader) -> None:
        known: EngineLoad | None = None
        while True:
            load = await reader.read()
            if load is not None and load != known:
                known = load
                for link in self._links:
                    link.report(load)
            await asyncio.sleep(self._times.load_every_s)

    async def _kept(self, name: str, work: Work) -> None:
        await kept_running(work, name=name, pause_s=self._times.restart_pause_s)
