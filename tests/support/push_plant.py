"""The whole way of streams by task: gateway and site are processes, with a wire between them.

The site is the real endpoint agent, in whose process the function calls the engine and pushes.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.gateway import gateway
from lab.stand_in import StandIn
from tests.support.compute_site import ComputeSite, compute_site
from tests.support.engine_doubles import listening
from tests.support.faults import MODEL, Streams, free_port, settings_of
from tests.support.gateway_processes import write_catalog
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import PacedEngine
from tests.support.push_wire import PushWire, push_wire

#: Served by an engine that a test runs, and kills.
MORTAL = "mortal"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSite:
    """A site, the engine that it serves the model from, and the service that sends it tasks."""

    globus: LocalGlobus
    site: ComputeSite
    engine: PacedEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlant(Streams):
    """All that runs where functions push the streams; `hub_port` is what the wire leads to."""

    site: ComputeSite
    wire: PushWire
    hub_port: int


@asynccontextmanager
async def push_site(globus: LocalGlobus) -> AsyncIterator[PushSite]:
    """Run a site."""
    engine = PacedEngine()
    async with listening(engine) as engine_socket, compute_site(globus) as site:
        site.register(MODEL, engine_socket)
        yield PushSite(globus=globus, site=site, engine=engine)


@asynccontextmanager
async def push_plant(at: PushSite) -> AsyncIterator[PushPlant]:
    """Run a gateway before a site."""
    port, token = free_port(), await at.globus.token("alice@example.org")
    stand_in = StandIn(url=at.globus.url, folder=at.globus.state)
    with tempfile.TemporaryDirectory(prefix="hotnode-") as name:
        folder = Path(name)
        write_catalog(folder / "catalog", at.site, MODEL, MORTAL)
        async with push_wire(port) as (wire, dialled):
            # Sites push to the wire; the hub listens behind it.
            settings = settings_of(port) | {"relay_public_url": f"http://127.0.0.1:{dialled}"}
            async with gateway(folder, stand_in, **settings) as running:
                plant = PushPlant(
                    engine=at.engine,
                    gateway=running,
                    token=token,
                    site=at.site,
                    wire=wire,
                    hub_port=port,
                )
                try:
                    yield plant
                finally:
                    await plant.given_up()
