"""Runs the scripts of `tests/conformance/` in the clients' own environments, each once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from lab.clients import environment
from lab.clients.environment import Clients
from lab.installing import installation

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "conformance"
#: One run asks everything at every base URL (seconds).
TIMEOUT_S = 400.0
#: Streams do not differ by base URL: one of each kind, by relay and by task, will do for three
#: versions of a client that asks for many.
STREAMED_AT = ("cluster", "v1", "tasks")
#: What a script printed: by base URL and feature, `said` or `error`.
Report: TypeAlias = dict[str, dict[str, dict[str, Any]]]


def transport(base: str) -> str:
    """Return how requests at a base URL travel."""
    return "task" if base == "tasks" else "relay"


def comes_in_pieces(base: str) -> bool:
    """Tell whether streams come as the engine makes them; otherwise they are made of the whole."""
    return transport(base) != "task"


def clients_dir() -> Path:
    """Return where clients are installed: HOTNODE_CLIENTS_DIR, or .hotnode/clients."""
    return Path(os.environ.get("HOTNODE_CLIENTS_DIR") or ROOT / ".hotnode" / "clients")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A script of a client; without `clients` it runs in the tests' own environment."""

    script: str
    clients: Clients | None = None
    #: The base URLs that it asks; all of them if none is named.
    bases: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return what runs the script; skip or fail where the client is not installed."""
        script = str(SCRIPTS / self.script)
        if self.clients is None:
            return [sys.executable, script]
        program = str(installed(self.clients).program)
        is_node = isinstance(self.clients, environment.NodeClients)
        return [program, script, str(self.clients.folder)] if is_node else [program, script]


def installed(clients: Clients) -> Clients:
    """Return clients that can be run: skip without Node, fail where they were not installed."""
    if isinstance(clients, environment.NodeClients) and (missing := clients.missing()):
        pytest.skip(missing)
    if not installation.is_current(clients):
        pytest.fail(f"Install them first: python -m lab.clients.install --target {clients_dir()}")
    return clients


def known_clients() -> dict[str, Client]:
    """Return every client by the name that tests use."""
    python = environment.python_clients(clients_dir())
    current, first = python["clients"], python["clients-openai-1"]
    return {
        "openai-1": Client(script="clients/openai_sdk.py", clients=first),
        "openai-2": Client(script="clients/openai_sdk.py", clients=current),
        "openai-3": Client(script="clients/openai_sdk.py"),
        "openai-1-streams": Client(
            script="clients/openai_streams.py", clients=first, bases=STREAMED_AT
        ),
        "openai-2-streams": Client(
            script="clients/openai_streams.py", clients=current, bases=STREAMED_AT
        ),
        "openai-3-streams": Client(script="clients/openai_streams.py", bases=STREAMED_AT),
        # Files and batches are the same at every base URL; each version asks at one of them.
        "openai-1-batches": Client(
            script="clients/openai_batches.py", clients=first, bases=("v1",)
        ),
        "openai-2-batches": Client(
            script="clients/openai_batches.py", clients=current, bases=("cluster",)
        ),
        "openai-3-batches": Client(script="clients/openai_batches.py", bases=("resource_server",)),
        "openai-batch": Client(
            script="clients/openai_batch_package.py", clients=python["clients-openai-batch"]
        ),
        "openai-node": Client(
            script="node/openai.mjs", clients=environment.node_clients(clients_dir())
        ),
        "langchain": Client(script="clients/langchain_client.py", clients=current),
        "llamaindex": Client(script="clients/llamaindex_client.py", clients=current),
        "anthropic": Client(script="clients/anthropic_sdk.py", clients=current),
        "http": Client(script="clients/http_readers.py", clients=current),
    }


@dataclass(slots=True)
class Runs:
    """Runs each client against one offer, and remembers what it said."""

    offer: dict[str, Any]
    home: Path
    _reports: dict[str, Report] = field(default_factory=dict)

    async def of(self, client: str) -> Report:
        """Return what a client said; the first who asks waits for it to run."""
        if client not in self._reports:
            known = known_clients()[client]
            bases = self.offer["bases"]
            offer = self.offer | {"bases": {name: bases[name] for name in known.bases or bases}}
            out = await run(known.command(), home=self.home, given=json.dumps(offer))
            self._reports[client] = json.loads(out)
        return self._reports[client]

    async def said(self, client: str, base: str, feature: str) -> Any:
        """Return what a feature said at a base URL; it must not have failed."""
        found = (await self.of(client))[base][feature]
        assert "said" in found, found.get("traceback")
        return found["said"]

    async def error(self, client: str, base: str, feature: str) -> dict[str, Any]:
        """Return the facts about the error that a feature must have run into."""
        found = (await self.of(client))[base][feature]
        assert "error" in found, found
        error: dict[str, Any] = found["error"]
        return error


async def run(
    command: list[str], *, home: Path, given: str = "", environ: dict[str, str] | None = None
) -> str:
    """Run a program to its good end and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        env=clean_environment(home) | (environ or {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, (out + err).decode()[-4000:]
    return out.decode()


def clean_environment(home: Path) -> dict[str, str]:
    """Return variables for a client that knows nothing of this machine or of other services."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
        # LlamaIndex counts tokens with a file that comes with it, and must not look elsewhere.
        "NLTK_DATA": str(home),
    }
