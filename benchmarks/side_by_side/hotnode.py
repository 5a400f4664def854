"""Hotnode as it is installed: one gateway that knows one site as a cluster for each transport.

With `roles` there is a second gateway, whose web processes and hub are apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from lab.endpoint import endpoint, register
from lab.gateway import Gateway, gateway
from lab.service import Service
from lab.stand_in import StandIn, stand_in
from lab.system.postgresql import postgresql
from lab.system.redis import redis
from side_by_side.site import FRAMEWORK, MODEL, Instance, Site
from side_by_side.subject import ENDPOINT, HUB, RELAY, WEB, Most, Subject

CLIENT, PERSON = "local", "alice@example.org"
TRANSPORTS = ("relay", "direct", "task")
#: What relays dial when web processes and hub are apart; it needs PostgreSQL and Redis.
ROLES = "roles"
WORKERS = 2
#: One endpoint, and a service that takes 20 requests in 10 s, many tasks in each.
TASK_MOST = Most(connections=10, streams=16)
#: So that usage is counted, and nobody is refused.
ENDLESS = {"limit_tokens_per_minute": str(10**12)}
Clusters: TypeAlias = Mapping[str, Mapping[str, object]]
_PATH = "/resource_server/{cluster}/{framework}/v1/chat/completions"


class Hotnode:
    """The gateways that are wanted, before an instance of an enrolled site."""

    def __init__(
        self, folder: Path, site: Site, wanted: Collection[str], *, public_key: str
    ) -> None:
        self._folder = folder
        self._site = site
        self._wanted = wanted
        self._public_key = public_key
        self._agent_pids: tuple[int, ...] = ()

    @asynccontextmanager
    async def served(self, instance: Instance) -> AsyncIterator[list[Subject]]:
        """Run it all beside the body."""
        async with AsyncExitStack() as stack:
            globus = await stack.enter_async_context(stand_in(self._folder / "globus"))
            clusters = await self._clusters(instance, globus, stack)
            one, start_s = await self._in_one(globus, clusters, stack)
            service = Service(folder=self._folder, globus=globus, gateway=one)
            token = await service.token_of(PERSON)
            subjects = [
                self._subject(name, one, instance, start_s)
                for name in TRANSPORTS
                if name in self._wanted
            ]
            if ROLES in self._wanted:
                subjects.append(await self._apart(globus, clusters["relay"], instance, stack))
            yield [replace(subject, token=token) for subject in subjects]

    async def _in_one(
        self, globus: StandIn, clusters: Clusters, stack: AsyncExitStack
    ) -> tuple[Gateway, float]:
        """Run a gateway that is one process; return it and how long that took."""
        folder = self._folder / "gateway"
        write_catalog(folder / "catalog", clusters)
        began = time.monotonic()
        served = gateway(folder, globus, port=0, **self._settings(hub=0))
        return await stack.enter_async_context(served), time.monotonic() - began

    def _subject(self, name: str, one: Gateway, instance: Instance, start_s: float) -> Subject:
        """Return one transport of a gateway in one process."""
        beside: dict[str, Mapping[str, Sequence[int]]] = {
            "relay": {RELAY: (instance.launcher_pid,)},
            "task": {ENDPOINT: self._agent_pids},
        }
        return Subject(
            name=name,
            port=port_of(one),
            path=_PATH.format(cluster=name, framework=FRAMEWORK),
            processes={WEB: (one.process.pid,), **beside.get(name, {})},
            start_s=start_s,
            most=TASK_MOST if name == "task" else Most(),
        )

    async def _apart(
        self,
        globus: StandIn,
        relay: Mapping[str, object],
        instance: Instance,
        stack: AsyncExitStack,
    ) -> Subject:
        """Run a gateway of several processes, with the relays' cluster alone."""
        folder = self._folder / "roles"
        write_catalog(folder / "catalog", {"relay": relay})
        database = await stack.enter_async_context(postgresql(self._folder))
        cache = await stack.enter_async_context(redis(self._folder))
        settings = {
            "workers": str(WORKERS),
            "database_url": database.url,
            "redis_url": cache.url,
        }
        began = time.monotonic()
        several = await stack.enter_async_context(
            gateway(folder, globus, port=0, **self._settings(hub=1), **settings)
        )
        return Subject(
            name=ROLES,
            port=port_of(several),
            path=_PATH.format(cluster="relay", framework=FRAMEWORK),
            processes=by_role(several) | {RELAY: (instance.launcher_pid,)},
            start_s=time.monotonic() - began,
        )

    def _settings(self, *, hub: int) -> dict[str, str]:
        port = self._site.relay_ports[hub]
        url = f"http://127.0.0.1:{port}"
        return ENDLESS | {
            "relay_port": str(port),
            "relay_public_url": url,
            "log_format": "json",
        }

    async def _clusters(
        self, instance: Instance, globus: StandIn, stack: AsyncExitStack
    ) -> Clusters:
        """Return what the catalog says of each cluster; starts the agent that one of them wants."""
        clusters: dict[str, Mapping[str, object]] = {}
        if {"relay", ROLES} & set(self._wanted):
            clusters["relay"] = {"relay": {"public_key": self._public_key}}
        if "direct" in self._wanted:
            direct = {"url": instance.url}
            if instance.key_file is not None:
                direct["api_key_file"] = str(instance.key_file)
            clusters["direct"] = {"frameworks": {FRAMEWORK: {"direct": direct}}}
        if "task" in self._wanted:
            clusters["task"] = {"globus_compute": await self._agent(globus, stack)}
        return clusters

    async def _agent(self, globus: StandIn, stack: AsyncExitStack) -> dict[str, object]:
        """Run the endpoint's agent; return where the site's functions are."""
        lock = self._folder / "functions.lock.json"
        await register(lock, globus, client=CLIENT)
        agent = await stack.enter_async_context(
            endpoint(
                self._folder / "endpoint",
                globus,
                client=CLIENT,
                lock=lock,
                site_dir=self._site.directory,
            )
        )
        pid = int((agent.folder / "daemon.pid").read_text(encoding="ascii").split()[0])
        self._agent_pids = (pid,)
        return {"client": CLIENT, "endpoint_id": agent.id, "functions_file": str(lock)}


def write_catalog(folder: Path, clusters: Clusters) -> None:
    """Write a catalog with one model on all of these clusters."""
    places = [{"cluster": name, "framework": FRAMEWORK} for name in clusters]
    files: dict[str, dict[str, Any]] = {
        f"sites/{name}.yaml": {"cluster": name, "frameworks": {FRAMEWORK: {}}, **said}
        for name, said in clusters.items()
    }
    files["models/model.yaml"] = {"id": MODEL, "deployments": places}
    for name, values in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def port_of(served: Gateway) -> int:
    """Return where a gateway listens."""
    return int(served.url.rsplit(":", 1)[1])


def by_role(served: Gateway) -> dict[str, tuple[int, ...]]:
    """Return the processes of a supervised gateway that carry requests."""
    lines = served.process.command.log.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    ready = [entry for entry in entries if entry["event"] == "process_ready"]
    return {
        role: tuple(entry["pid"] for entry in ready if entry["process"].startswith(role))
        for role in (WEB, HUB)
    }
