"""A gateway of several processes on PostgreSQL and Redis, in front of a real endpoint agent."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from lab.gateway import Gateway, gateway
from lab.stand_in import StandIn
from lab.system.postgresql import Postgresql, postgresql
from lab.system.redis import Redis, redis
from tests.support.compute_site import FRAMEWORK, MODEL, ComputeSite, compute_site
from tests.support.eventually import eventually
from tests.support.local_globus import LocalGlobus
from tests.support.watch import METRICS_TOKEN

WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a caller got: a status and a body; 0 if the connection broke."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The running gateway, what it stands on, and a person who calls it."""

    globus: StandIn
    site: ComputeSite
    postgresql: Postgresql
    redis: Redis
    token: str
    running: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The gateway itself."""
        assert self.running is not None
        return self.running

    @asynccontextmanager
    async def served(self, folder: Path, **settings: Any) -> AsyncIterator[Processes]:
        """Run a gateway of several processes, and yield all this with it.

        `settings` are further ones, by name.
        """
        write_catalog(folder / "catalog", self.site, MODEL)
        async with gateway(
            folder,
            self.globus,
            workers=str(WORKERS),
            database_url=self.postgresql.url,
            redis_url=self.redis.url,
            controller_lease_s="2",
            catalog_poll_s="0.2",
            log_format="json",
            metrics_token=METRICS_TOKEN,
            **settings,
        ) as running:
            yield replace(self, running=running)

    async def ask(self, model: str = MODEL, **body: object) -> Reply:
        """Send one chat completion, on a connection of its own."""
        return await self._call(
            "POST", f"/resource_server/local/{FRAMEWORK}/v1/chat/completions", model=model, **body
        )

    async def describe(self, model: str) -> Reply:
        """Ask for what is known of a model, on a connection of its own."""
        return await self._call("GET", f"/v1/models/{model}")

    async def ready(self) -> Reply:
        """Ask whether requests can be served."""
        return await self._call("GET", "/ready")

    async def _call(self, method: str, path: str, **body: object) -> Reply:
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            try:
                async with session.request(
                    method, f"{self.gateway.url}{path}", json=body or None
                ) as response:
                    return Reply(
                        status=response.status,
                        body=await response.json(),
                        headers=dict(response.headers),
                    )
            except aiohttp.ClientConnectionError:
                return Reply(status=0)

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log about an event."""
        lines = self.gateway.process.command.log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def pids(self, name: str) -> list[int]:
        """Return the ids of all processes of a name that have come to serve, oldest first."""
        return [entry["pid"] for entry in self.log("process_ready") if entry["process"] == name]

    async def kill(self, name: str) -> None:
        """Kill a process and wait until another one serves in its place."""
        before = self.pids(name)
        os.kill(before[-1], signal.SIGKILL)
        await eventually(lambda: len(self.pids(name)) > len(before), seconds=60)


def write_catalog(folder: Path, site: ComputeSite, *models: str) -> None:
    """Write a catalog of models that the site's engine echoes."""
    cluster = site.cluster()
    target = cluster.globus_compute
    files: dict[str, dict[str, object]] = {
        "sites/local.yaml": {
            "cluster": cluster.name,
            "frameworks": {FRAMEWORK: {}},
            "globus_compute": {
                "client": target.client,
                "endpoint_id": target.endpoint_id,
                "functions": dict(target.functions),
            },
        }
    }
    for model in models:
        place = {"cluster": cluster.name, "framework": FRAMEWORK}
        files[f"models/{model}.yaml"] = {"id": model, "deployments": [place]}
    for name, values in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values), encoding="utf-8")


@asynccontextmanager
async def running_processes(folder: Path) -> AsyncIterator[Processes]:
    """Run everything; the stores are its own, since its tests stop them."""
    async with (
        LocalGlobus(folder / "globus") as globus,
        compute_site(globus) as site,
        postgresql(folder) as database,
        redis(folder) as cache,
    ):
        around = Processes(
            globus=StandIn(url=globus.url, folder=globus.state),
            site=site,
            postgresql=database,
            redis=cache,
            token=await globus.token("alice@example.org"),
        )
        async with around.served(folder / "gateway") as processes:
            yield processes
