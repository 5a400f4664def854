"""An engine with the real relay beside it, a hub, and a wire between them that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from compute_functions.engine_client import Engine
from compute_functions.relay.credentials import Claims, SiteCredentials
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.relay import Relay, Served
from resource_server.domain.catalog import Cluster
from tests.support.cut_wire import CutWire, cut_wire
from tests.support.engine_doubles import listening
from tests.support.eventually import eventually
from tests.support.paced_engine import PacedEngine
from tests.support.relay_hub import RelayHub, cluster_of, relay_hub
from tests.support.relay_site import FRAMEWORK, MODEL, PATH, RelaySite, catalog_of
from tests.support.relays import LOAD, QUICK


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """What tests of the whole way have at hand."""

    engine: PacedEngine
    hub: RelayHub
    wire: CutWire
    cluster: Cluster
    relay: Relay

    async def ready(self) -> None:
        """Wait until the relay is linked."""
        await eventually(lambda: [link.state.value for link in self.hub.links] == ["ready"])


def site_key(site: RelaySite, folder: Path) -> Path:
    """Return a file with the site's private key."""
    file = folder / "site.key"
    file.write_bytes(site.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@asynccontextmanager
async def real_relay(
    site: RelaySite, socket: Path, port: int, folder: Path, *, instance: str = "instance-1"
) -> AsyncIterator[Relay]:
    """Run the site's own relay beside an engine's socket."""
    claims = Claims(
        cluster=site.cluster, instance=instance, job="4711", framework=FRAMEWORK, model=MODEL
    )
    relay = Relay(
        Served(
            instance=instance,
            engine=Engine(endpoint=str(socket), api_key="the-engine's-key"),
            paths={PATH: PATH},
            load=LOAD,
        ),
        enrolment=Enrolment(
            cluster=site.cluster, hubs=(f"ws://127.0.0.1:{port}/relay/v1/connect",)
        ),
        credentials=SiteCredentials(site_key(site, folder), claims),
        times=replace(QUICK, load_every_s=60.0),
    )
    relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


@asynccontextmanager
async def connected(folder: Path, **changes: Any) -> AsyncIterator[Connected]:
    """Run all of it; `changes` are of the hub."""
    site, engine = RelaySite.enrolled(), PacedEngine()
    async with (
        listening(engine) as socket,
        relay_hub(catalog_of(site), folder, **changes) as hub,
        cut_wire(hub.port) as (wire, port),
        real_relay(site, socket, port, folder) as relay,
    ):
        everything = Connected(
            engine=engine, hub=hub, wire=wire, cluster=cluster_of(site), relay=relay
        )
        await everything.ready()
        yield everything


@pytest_asyncio.fixture
async def between(tmp_path: Path) -> AsyncIterator[Connected]:
    async with connected(tmp_path) as everything:
        yield everything


@pytest.fixture
def opened() -> Any:
    """Return what runs all of it with changes."""
    return connected
