"""Real engines with tiny models, started by the real launcher, for acceptance tests.

`tests/support/shared_engines.py` offers them as session fixtures. A test that wants to kill an
engine starts its own with `running_engine`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import engine
from lab.installing import preconditions
from lab.processes import Child
from lab.recipes import ENGINES

MODEL = engine.MODEL_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngine:
    """A ready instance: put `site_dir` in HOTNODE_SITE_DIR and requests find it."""

    site_dir: Path
    launcher: Child
    model: str
    framework: str

    def registration(self) -> dict[str, Any]:
        """Return what the launcher last wrote."""
        return engine.registration(self.site_dir, self.model)


def engines_dir() -> Path:
    """Return where engines are installed: HOTNODE_ENGINES_DIR, or .hotnode/engines."""
    return Path(os.environ.get("HOTNODE_ENGINES_DIR") or ENGINES)


def require_engine(model: str = engine.CHAT) -> None:
    """Skip on machines that cannot run the engine; fail where it only was not installed."""
    home = engine.Model.named(model).environment(engines_dir())
    unmet = preconditions.problems(preconditions.Machine.here(home.folder), disk_gb=0)
    if unmet:
        pytest.skip(" ".join(unmet))
    if not home.is_current():
        module = home.folder.name.replace("-", "_")
        pytest.fail(f"Install it first: python -m lab.{module}.install --target {home.folder}")


@asynccontextmanager
async def running_engine(site_dir: Path, model: str = engine.CHAT) -> AsyncIterator[RunningEngine]:
    """Start a launcher for a tiny model at `site_dir`, wait until ready, stop it after."""
    require_engine(model)
    known = engine.Model.named(model)
    async with engine.launched(site_dir, model, engines=engines_dir()) as launcher:
        await engine.wait_ready(launcher, site_dir, model)
        yield RunningEngine(
            site_dir=site_dir, launcher=launcher, model=known.id, framework=known.framework
        )
