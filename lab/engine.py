"""An engine with a tiny model, run for the lab by the product's own launcher."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.processes import Child, Command, running
from lab.stand_in import clean_environment

ROOT = Path(__file__).parents[1]
ENGINES = ROOT / ".hotnode" / "engines"
ENGINE = ROOT / "endpoint_configs" / "engines" / "vllm-cpu.yaml"
MODEL = ROOT / "endpoint_configs" / "models" / "tiny-chat.yaml"
MODEL_ID = "hotnode/tiny-chat"
READY_WITHIN_S = 180.0


@asynccontextmanager
async def launched(site_dir: Path) -> AsyncIterator[Child]:
    """Run a launcher beside the body; `wait_ready` says when the model answers."""
    command = Command(
        name="the engine",
        arguments=[
            *(sys.executable, "-m", "compute_functions.launcher"),
            *("--engine", str(ENGINE), "--model", str(MODEL)),
            *("--site-dir", str(site_dir), "--engines-dir", str(ENGINES)),
        ],
        log=site_dir / "launcher.log",
        environment=clean_environment(),
    )
    async with running(command) as child:
        yield child


async def wait_ready(child: Child, site_dir: Path) -> None:
    """Wait until the site's registrations hold a ready instance."""
    await child.until(lambda: "ready" in _states(site_dir), within_s=READY_WITHIN_S)


def _states(site_dir: Path) -> set[str]:
    found = (site_dir / "instances").glob("*.json")
    return {json.loads(path.read_text(encoding="utf-8"))["state"] for path in found}
