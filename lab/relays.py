"""Relays of the lab's site: its enrolment, by the product's own command, and their coming."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from compute_functions import loopback_port
from lab.gateway import CLUSTER, Gateway
from lab.processes import Command, output_of
from lab.stand_in import clean_environment

ENROL_WITHIN_S = 30.0
#: A relay that found no hub dials again after ten seconds at the latest.
DIAL_WITHIN_S = 30.0
POLL_S = 0.1
_LINK = re.compile(r'hotnode_relay_links\{(?=.*model="(?P<model>[^"]*)").*state="ready".*\} 1\.0')


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A site's enrolment at one gateway: the hub's port, and what the site proves itself with."""

    port: int
    public_key: str

    @property
    def url(self) -> str:
        """What the site's relays dial, and where its functions push streams."""
        return loopback_port.endpoint(self.port)

    def settings(self) -> dict[str, str]:
        """Return the gateway's settings."""
        return {
            "relay_host": loopback_port.HOST,
            "relay_port": str(self.port),
            "relay_public_url": self.url,
        }


async def enrol(site_dir: Path, *, gateways: int = 1) -> tuple[Enrolment, ...]:
    """Enrol a site at gateways that are to come; launchers that start from now on have relays."""
    ports = [loopback_port.free() for _ in range(gateways)]
    hubs = [part for port in ports for part in ("--hub", loopback_port.endpoint(port))]
    command = Command(
        name="the site's enrolment",
        arguments=[
            *(sys.executable, "-m", "compute_functions.enrol", "--site-dir", str(site_dir)),
            *("--cluster", CLUSTER, *hubs, "--insecure"),
        ],
        log=site_dir / "enrol.log",
        environment=clean_environment(),
    )
    printed = yaml.safe_load(await output_of(command, within_s=ENROL_WITHIN_S))
    key = printed["relay"]["public_key"]
    return tuple(Enrolment(port=port, public_key=key) for port in ports)


async def dialled(gateway: Gateway, model_id: str) -> None:
    """Wait until a relay of the model has dialled the gateway, as its metrics tell."""
    token = (gateway.folder / "metrics_token").read_text(encoding="utf-8")
    headers = {"Authorization": f"Bearer {token.strip()}"}
    async with (
        asyncio.timeout(DIAL_WITHIN_S),
        aiohttp.ClientSession(gateway.url, headers=headers, raise_for_status=True) as session,
    ):
        while True:
            async with session.get("/metrics") as response:
                page = await response.text()
            if any(found["model"] == model_id for found in _LINK.finditer(page)):
                return
            await asyncio.sleep(POLL_S)
