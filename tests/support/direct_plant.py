"""The whole way of streams where the gateway reaches the engines by itself."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lab.gateway import gateway
from lab.stand_in import StandIn
from tests.support.cut_wire import CutWire, cut_wire
from tests.support.direct_engines import engine_at
from tests.support.faults import CLUSTER, Streams, free_port, settings_of, write_files
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import PacedEngine
from tests.support.relay_site import FRAMEWORK

#: A cluster whose engine a test runs, and kills.
MORTAL = "mortal"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPlant(Streams):
    """All that runs; the wire is between gateway and engine, `mortal_port` is the other one's."""

    wire: CutWire
    mortal_port: int

    @property
    def mortal(self) -> DirectPlant:
        """The same, for streams of the engine that a test kills."""
        return replace(self, cluster=MORTAL)


@asynccontextmanager
async def direct_plant(globus: LocalGlobus) -> AsyncIterator[DirectPlant]:
    """Run a gateway before an engine."""
    engine, mortal_port = PacedEngine(), free_port()
    token = await globus.token("alice@example.org")
    stand_in = StandIn(url=globus.url, folder=globus.state)
    with tempfile.TemporaryDirectory(prefix="hotnode-") as name:
        folder = Path(name)
        async with (
            engine_at(engine) as url,
            cut_wire(int(url.rsplit(":", 1)[1])) as (wire, port),
        ):
            sites = [_site(CLUSTER, port), _site(MORTAL, mortal_port)]
            write_files(folder / "catalog", *sites)
            async with gateway(folder, stand_in, **settings_of(0)) as running:
                plant = DirectPlant(
                    engine=engine,
                    gateway=running,
                    token=token,
                    wire=wire,
                    mortal_port=mortal_port,
                )
                try:
                    yield plant
                finally:
                    await plant.given_up()


def _site(cluster: str, port: int) -> dict[str, object]:
    return {
        "cluster": cluster,
        "frameworks": {FRAMEWORK: {"direct": {"url": f"http://127.0.0.1:{port}"}}},
        "transports": ["direct"],
    }
