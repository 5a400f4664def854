"""The whole way of a stream, with its real processes, and a judge of how each stream ended.

Client, gateway (`serve`, a process), a wire that can be cut, relay (a process), engine. The engine
runs in the test itself, so that what it said is known to the last byte.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from lab.gateway import Gateway, gateway
from lab.processes import Command, output_of
from lab.stand_in import StandIn, clean_environment
from tests.support.cut_wire import CutWire, cut_wire
from tests.support.engine_doubles import listening
from tests.support.eventually import eventually, eventually_so
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import PacedEngine, Served
from tests.support.raw_client import RawClient
from tests.support.relay_process import RelayProcess
from tests.support.relay_site import FRAMEWORK
from tests.support.watch import METRICS_TOKEN, Scrape

MODEL, CLUSTER = "paced", "local"
ROUTE = f"/resource_server/{CLUSTER}/{FRAMEWORK}/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
_ERROR = b'data: {"error":'
#: Nobody here is refused for asking too much.
ENDLESS = {
    name: str(10**9)
    for name in (
        "limit_requests_per_minute",
        "limit_requests_per_minute_per_key",
        "limit_tokens_per_minute",
        "limit_tokens_per_minute_per_model",
        "limit_concurrent_requests",
    )
}


class Reading:
    """One client's stream: what it has read, and whether its connection was cut."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.status = 0
        self.body = bytearray()
        self.cut = False
        self.task: asyncio.Task[None] | None = None

    async def run(self, url: str, token: str, body: Mapping[str, Any]) -> None:
        """Ask, and read to the end, whatever it is."""
        headers = {"Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            try:
                async with session.post(url, json=body) as response:
                    self.status = response.status
                    async for part in response.content.iter_any():
                        self.body += part
            except aiohttp.ClientError:
                self.cut = True

    async def until(self, text: bytes, *, seconds: float = 30.0) -> None:
        """Wait until this was read."""
        await eventually(lambda: text in self.body, seconds=seconds)

    async def end(self, *, seconds: float = 60.0) -> None:
        """Wait for the end."""
        assert self.task is not None
        async with asyncio.timeout(seconds):
            await self.task

    @property
    def error(self) -> dict[str, Any]:
        """The error that it ended in, as a body or as the last event."""
        assert not self.cut
        last = bytes(self.body).removesuffix(b"\n\n").split(b"\n\n")[-1]
        found: dict[str, Any] = json.loads(last.removeprefix(b"data: "))["error"]
        return found

    def judged(self, said: bytes) -> str:
        """Return how it ended, if that was honest: with all of `said`, with an error, or cut."""
        body = bytes(self.body).replace(COMMENT, b"")
        if self.status != 200:
            assert self.error["code"]
            return "refused" if self.status else "cut"
        if body.endswith(DONE):
            assert not self.cut
            assert body == said, "a whole stream is not what the engine said"
            return "whole"
        assert DONE not in body
        if self.cut:
            assert said.startswith(body), "what came before the cut is not what the engine said"
            return "cut"
        events, found, _ = body.rpartition(_ERROR)
        assert found, f"it ends without a word: {body[-200:]!r}"
        assert said.startswith(events), "what came before the error is not what the engine said"
        return "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """A gateway, and an engine whose words are known to the last byte; how to ask for a stream."""

    engine: PacedEngine
    gateway: Gateway
    token: str
    cluster: str = CLUSTER
    readings: list[Reading] = field(default_factory=list)

    @property
    def route(self) -> str:
        """Where streams are asked for."""
        return f"/resource_server/{self.cluster}/{FRAMEWORK}/v1/chat/completions"

    def begin(self, tag: str = "", **asked: Any) -> Reading:
        """Ask for a stream, and read it beside the test."""
        reading = Reading(tag or secrets.token_hex(8))
        body = asking(tag=reading.tag, **asked)
        work = reading.run(f"{self.gateway.url}{self.route}", self.token, body)
        reading.task = asyncio.create_task(work, name=f"reading {reading.tag}")
        self.readings.append(reading)
        return reading

    async def raw(self, **asked: Any) -> RawClient:
        """Return a connection on which a stream was asked for."""
        content = json.dumps(asking(**asked)).encode()
        client = await RawClient.connect(int(self.gateway.url.rsplit(":", 1)[1]))
        await client.send(
            f"POST {self.route} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {self.token}\n"
            f"Content-Type: application/json\nContent-Length: {len(content)}",
            content,
        )
        return client

    def served(self, tag: str) -> list[Served]:
        """Return what the engine did for a tag: more than one if it was asked again."""
        return [one for one in list(self.engine.served.values()) if one.asked["tag"] == tag]

    def said(self, reading: Reading) -> bytes:
        """Return what the engine said to a request, which ran at most once."""
        ran = self.served(reading.tag)
        assert len(ran) <= 1, "a request ran twice"
        return bytes(ran[0].said) if ran else b""

    async def ended(self, reading: Reading, *, seconds: float = 60.0) -> str:
        """Wait for the end of a stream, and return how honest that was."""
        await reading.end(seconds=seconds)
        return reading.judged(self.said(reading))

    async def metrics(self) -> Scrape:
        """Read the gateway's page of metrics."""
        return await Scrape.of(self.gateway.url)

    async def given_up(self) -> None:
        """Leave every stream that is still read."""
        tasks = {reading.task for reading in self.readings if reading.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant(Streams):
    """All that runs where a relay carries the streams."""

    wire: CutWire
    relay: RelayProcess

    async def linked(self, number: int = 1) -> None:
        """Wait until so many relays are linked."""
        await linked(self.gateway, number)


def asking(**fields: Any) -> dict[str, Any]:
    """Return a request for a stream."""
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": MODEL, "messages": messages, "stream": True} | fields


async def linked(running: Gateway, number: int = 1) -> None:
    """Wait until so many relays are linked, as the gateway's metrics say."""

    async def there() -> bool:
        page = await Scrape.of(running.url)
        return page.value("hotnode_relay_links", model=MODEL, state="ready") == number

    await eventually_so(there, seconds=30, every_s=0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def enrolled(site_dir: Path, port: int) -> str:
    """Enrol a site at the hub that is reached on a port; return the public key."""
    command = Command(
        name="the enrolment",
        arguments=[
            *(sys.executable, "-m", "compute_functions.enrol", "--insecure"),
            *("--site-dir", str(site_dir), "--cluster", CLUSTER),
            *("--hub", f"http://127.0.0.1:{port}"),
        ],
        log=site_dir / "enrol.log",
        environment=clean_environment(),
    )
    printed = yaml.safe_load(await output_of(command, within_s=60))
    key: str = printed["relay"]["public_key"]
    return key


def write_catalog(folder: Path, public_key: str) -> None:
    """Write a catalog whose one cluster is reached by relay alone."""
    site = {
        "cluster": CLUSTER,
        "frameworks": {FRAMEWORK: {}},
        "relay": {"public_key": public_key},
        "transports": ["relay"],
    }
    write_files(folder, site)


def write_files(folder: Path, *sites: Mapping[str, object]) -> None:
    """Write a catalog of some clusters, each of which serves the model."""
    places = [{"cluster": site["cluster"], "framework": FRAMEWORK} for site in sites]
    files: dict[str, Mapping[str, object]] = {
        f"sites/{site['cluster']}.yaml": site for site in sites
    }
    files[f"models/{MODEL}.yaml"] = {"id": MODEL, "deployments": places}
    for name, values in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")


def settings_of(port: int) -> dict[str, Any]:
    """Return the settings of a gateway that relays reach on a port."""
    return ENDLESS | {
        "relay_port": str(port),
        "relay_public_url": f"http://127.0.0.1:{port}",
        "log_format": "json",
        "metrics_token": METRICS_TOKEN,
    }


@asynccontextmanager
async def plant(globus: LocalGlobus, **settings: Any) -> AsyncIterator[Plant]:
    """Run all of it; `settings` are further ones of the gateway."""
    stand_in = StandIn(url=globus.url, folder=globus.state)
    token, port, engine = await globus.token("alice@example.org"), free_port(), PacedEngine()
    # A name short enough for sockets.
    with tempfile.TemporaryDirectory(prefix="hotnode-") as name:
        folder = Path(name)
        async with (
            listening(engine) as engine_socket,
            cut_wire(port) as (wire, dialled),
        ):
            key = await enrolled(folder / "site", dialled)
            write_catalog(folder / "gateway" / "catalog", key)
            relay = RelayProcess(site_dir=folder / "site", socket=engine_socket, model=MODEL)
            async with gateway(
                folder / "gateway", stand_in, **settings_of(port), **settings
            ) as running:
                everything = Plant(
                    engine=engine, wire=wire, gateway=running, token=token, relay=relay
                )
                try:
                    yield everything
                finally:
                    await everything.given_up()
