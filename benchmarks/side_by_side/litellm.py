"""LiteLLM's proxy, from PyPI, in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from typing_extensions import override

from lab.clients.environment import PythonClients
from lab.installing import installation
from lab.installing.recipe import REQUIREMENTS
from lab.processes import Child, Command, running
from lab.stand_in import clean_environment
from lab.system.loopback import free_port
from side_by_side.site import MODEL, Instance
from side_by_side.subject import GATEWAY, Subject

FOLDER = Path(__file__).parents[2] / ".hotnode" / "bench" / "litellm"
NAME = "LiteLLM"
#: Its key: it compares, where Hotnode asks Globus once and then its cache.
KEY = "sk-of-the-benchmark"
READY_WITHIN_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteLLM(PythonClients):
    """The environment."""

    @property
    @override
    def title(self) -> str:
        return "LiteLLM"


ENVIRONMENT = LiteLLM(folder=FOLDER, lock=REQUIREMENTS / "bench-litellm.txt")


def install() -> str:
    """Make the environment unless it is there; return why it cannot be, or nothing."""
    try:
        installation.ensure(ENVIRONMENT, lambda line: print(line.strip(), flush=True))
    except installation.InstallFailed as error:
        return str(error)
    return ""


@asynccontextmanager
async def litellm(folder: Path, instance: Instance) -> AsyncIterator[Subject]:
    """Run one worker of the proxy beside the body, in front of an engine."""
    config = folder / "litellm.yaml"
    port = free_port()
    engine = {
        "model": f"hosted_vllm/{MODEL}",
        "api_base": f"{instance.url}/v1",
        "api_key": instance.key,
    }
    # JSON is YAML.
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": MODEL, "litellm_params": engine}],
                "litellm_settings": {"num_retries": 0, "telemetry": False},
                "general_settings": {"master_key": KEY},
            }
        ),
        encoding="utf-8",
    )
    command = Command(
        name="LiteLLM",
        arguments=[
            str(FOLDER / "bin" / "litellm"),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
            *("--num_workers", "1"),
        ],
        log=folder / "litellm.log",
        environment=clean_environment()
        | {
            "LITELLM_LOG": "ERROR",
            # It would be fetched from the net at each start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
    )
    began = time.monotonic()
    async with running(command) as child:
        await _ready(child, port)
        yield Subject(
            name=NAME,
            port=port,
            token=KEY,
            processes={GATEWAY: (child.pid,)},
            start_s=time.monotonic() - began,
        )


async def _ready(child: Child, port: int) -> None:
    """Wait until it says that it is alive."""
    alive = False

    async def ask() -> None:
        nonlocal alive
        async with aiohttp.ClientSession() as session:
            while not alive:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/health/liveliness") as answer:
                        alive = answer.ok
                except aiohttp.ClientConnectionError:
                    pass  # It does not listen yet.
                await asyncio.sleep(POLL_S)

    asking = asyncio.create_task(ask())
    try:
        await child.until(lambda: alive, within_s=READY_WITHIN_S)
    finally:
        asking.cancel()
        await asyncio.wait({asking})
