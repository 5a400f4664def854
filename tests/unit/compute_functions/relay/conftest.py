"""An engine that streams at a pace, a hub that asks, and a relay between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from compute_functions.relay.relay import Relay
from tests.support.asking_hub import HubThatAsks, hub_that_asks
from tests.support.engine_doubles import listening
from tests.support.paced_engine import PacedEngine
from tests.support.relays import relaying


@dataclass(slots=True, kw_only=True)
class Between:
    """What a test of a relay has at hand."""

    engine: PacedEngine
    socket: Path
    hub: HubThatAsks
    address: str
    relay: Relay


@pytest.fixture
async def between() -> AsyncIterator[Between]:
    engine = PacedEngine()
    async with (
        listening(engine) as socket,
        hub_that_asks() as (hub, address),
        relaying(socket, address) as relay,
    ):
        await hub.linked()
        yield Between(engine=engine, socket=socket, hub=hub, address=address, relay=relay)
    assert hub.faults == []
