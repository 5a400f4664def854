"""`serve` as one process: relays dial it as well, and what they cannot carry goes by Globus."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest
import yaml

from lab.gateway import gateway
from lab.stand_in import StandIn
from tests.support.compute_site import FRAMEWORK, MODEL, compute_site
from tests.support.gateway_processes import write_catalog
from tests.support.local_globus import LocalGlobus
from tests.support.relay_double import Dialler, echoing
from tests.support.relay_site import RelaySite

pytestmark = pytest.mark.timeout(120)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_requests_go_by_relay_while_there_is_one(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "gateway"
    async with LocalGlobus(tmp_path / "globus") as globus, compute_site(globus) as site:
        enrolled = RelaySite.enrolled(site.cluster().name)
        write_catalog(folder / "catalog", site, MODEL)
        file = folder / "catalog" / "sites" / "local.yaml"
        values = yaml.safe_load(file.read_text())
        values |= {
            "relay": {"public_key": enrolled.public_key},
            "transports": ["relay", "task"],
        }
        file.write_text(yaml.safe_dump(values))
        stand_in = StandIn(url=globus.url, folder=globus.state)
        token = await globus.token("alice@example.org")
        async with (
            gateway(folder, stand_in, relay_port=str(port)) as running,
            Dialler.to(port) as dialler,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        ):

            async def transport() -> str:
                url = f"{running.url}/resource_server/local/{FRAMEWORK}/v1/chat/completions"
                async with session.post(url, json={"model": MODEL, "n": 1}) as response:
                    assert response.status == 200
                    assert (await response.json())["n"] == 1
                    return response.headers["x-hotnode-transport"]

            assert await transport() == "task"
            relay = await dialler.dial(enrolled.credential(model=MODEL))
            await relay.hello()
            async with echoing(relay):
                assert await transport() == "relay"
            await relay.socket.close()
            assert await transport() == "task"
