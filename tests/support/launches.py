"""What a launcher is told, with the small engine in place of a real one, and what it registers."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from compute_functions import engine_config, model_config
from compute_functions.launch import Launch
from compute_functions.site import SiteDirectory
from tests.support import small_engine

ENGINE: dict[str, Any] = {
    "framework": "small",
    "command": [
        *(sys.executable, small_engine.__file__),
        *("--socket", "{socket}", "--model", "{model}", "--weights", "{model_path}"),
    ],
    "api_key_variable": "SMALL_ENGINE_KEY",
    "environment": {"WHERE": "{runtime_dir}"},
    "inherited": ["PATH", "HOME"],
    "paths": {"/v1/completions": "/complete", "/v1/chat/completions": "/chat"},
    "health_path": "/health",
    "load": {"path": "/metrics", "running": "running", "waiting": "waiting"},
    "batch_priority": 100,
    "probes": {"completions": {"body": {"prompt": "Hello", "max_tokens": 1}}},
    "watch_every_s": 0.05,
    "start_deadline_s": 30,
    "drain_s": 0.05,
    "stop_grace_s": 10,
    "required_arguments": {},
    "reserved_arguments": ["--socket", "--api-key"],
}
#: The command of the same engine on a port.
ON_PORT = ["{port}" if part == "{socket}" else part for part in ENGINE["command"]]
MODEL: dict[str, Any] = {
    "id": "vendor/model",
    "engine": "small",
    "routes": ["completions"],
    "path": "weights",
    "arguments": [],
    "description": "not the launcher's business",
}


def write_engine(folder: Path, **changes: Any) -> Path:
    """Write an engine file like `ENGINE`."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(ENGINE | changes))
    return file


def write_model(folder: Path, **changes: Any) -> Path:
    """Write a model's file like `MODEL`, and its folder of weights."""
    (folder / "weights").mkdir(exist_ok=True)
    file = folder / "model.yaml"
    file.write_text(yaml.safe_dump(MODEL | changes))
    return file


def launch(folder: Path, *arguments: str, **changes: Any) -> Launch:
    """Return a launch of the small engine with `arguments`, at the site `folder`/site."""
    return Launch(
        site=SiteDirectory(folder / "site"),
        engine=engine_config.load(write_engine(folder, **changes)),
        model=model_config.load(write_model(folder, arguments=list(arguments))),
        name="instance",
        job_id="job-1",
        engines_dir=None,
        runtime_root=folder,
    )


class StateLog(logging.Handler):
    """Hears of each state that a launcher in this process registers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._news: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        event = record.getMessage().split()[0]
        if event.startswith("instance_"):
            self.seen.append(event.removeprefix("instance_"))
            self._news.put_nowait(self.seen[-1])

    async def until(self, state: str) -> None:
        """Wait for a state; another one that ends an instance is an error."""
        async with asyncio.timeout(60):
            while (news := await self._news.get()) != state:
                assert news not in {"failed", "stopped"}, news


@contextmanager
def states() -> Iterator[StateLog]:
    """Listen to the launcher's log."""
    handler, log = StateLog(), logging.getLogger("hotnode.launcher")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
