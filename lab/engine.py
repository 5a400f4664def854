"""Engines with tiny models, run for the lab by the product's own launcher."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from compute_functions import engine_config
from lab.installing.environment import Environment
from lab.processes import Child, Command, running
from lab.recipes import ENGINES, RECIPES
from lab.stand_in import clean_environment

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "endpoint_configs"
CHAT = "tiny-chat"
MODEL_ID = "hotnode/tiny-chat"
#: The launcher's own deadline ends sooner; this one is for a launcher that hangs (seconds).
READY_WITHIN_S = 330.0
#: What a launcher needs beside its engine to end (seconds).
LAUNCHER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the lab must know of one file of `endpoint_configs/models/`."""

    file: Path
    id: str
    framework: str
    engine: str

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the model of the file `name`.yaml."""
        file = CONFIGS / "models" / f"{name}.yaml"
        said: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        framework = said["deployments"][0]["framework"]
        return cls(file=file, id=said["id"], framework=framework, engine=said["engine"])

    def environment(self, engines: Path = ENGINES) -> Environment:
        """Return where the model's engine is installed, or shall be."""
        return Environment(engines / self.engine, RECIPES[self.engine])


@asynccontextmanager
async def launched(
    site_dir: Path, model: str = CHAT, *, engines: Path = ENGINES
) -> AsyncIterator[Child]:
    """Run a launcher beside the body; `wait_ready` says when the model answers.

    Several models can run at one site, each with a launcher of its own.
    """
    known = Model.named(model)
    command = Command(
        name=f"the engine of {model}",
        arguments=[
            *(sys.executable, "-m", "compute_functions.launcher"),
            *("--engine", str(CONFIGS / "engines" / f"{known.engine}.yaml")),
            *("--model", str(known.file)),
            *("--site-dir", str(site_dir), "--engines-dir", str(engines)),
        ],
        log=site_dir / f"{model}.launcher.log",
        environment=clean_environment(),
        grace_s=grace_s(known.engine),
    )
    async with running(command) as child:
        yield child


def grace_s(engine: str) -> float:
    """Return how long a launcher may take to end: as long as its engine may, and a little."""
    config = engine_config.load(CONFIGS / "engines" / f"{engine}.yaml")
    return config.drain_s + config.stop_grace_s + LAUNCHER_S


async def wait_ready(child: Child, site_dir: Path, model: str = CHAT) -> None:
    """Wait until the site's registrations hold a ready instance of the model."""
    name = Model.named(model).id
    await child.until(
        lambda: registration(site_dir, name).get("state") == "ready", within_s=READY_WITHIN_S
    )


def registration(site_dir: Path, model_id: str) -> dict[str, Any]:
    """Return what the launcher of a model last wrote; nothing before it wrote."""
    for path in (site_dir / "instances").glob("*.json"):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["model"] == model_id:
            return found
    return {}
