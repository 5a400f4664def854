"""The engine files of the sites: those of the product, and one of the lifecycle engine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from lab import lifecycle_engine
from lab.engine import CONFIGS
from lab.slurm_sites.model import FRAMEWORK, SMALL

_CHAT = "/v1/chat/completions"
_LIFECYCLE: dict[str, Any] = {
    "framework": FRAMEWORK,
    "command": [
        *(sys.executable, "-P", lifecycle_engine.__file__),
        *("--socket", "{socket}", "--model", "{model}", "--weights", "{model_path}"),
    ],
    "api_key_variable": "LIFECYCLE_ENGINE_KEY",
    "environment": {},
    "inherited": ["PATH", "HOME", "CUDA_VISIBLE_DEVICES"],
    "paths": [_CHAT, "/v1/completions", "/v1/sicken"],
    "health_path": "/health",
    "load": {"path": "/metrics", "running": "running", "waiting": "waiting"},
    "probes": {"chat/completions": {"body": {"messages": [], "tokens": 1}}},
    "watch_every_s": 0.5,
    "start_deadline_s": 60,
    "drain_s": 0.1,
    "stop_grace_s": 10,
    "required_arguments": {},
    "reserved_arguments": ["--socket"],
}


def write(folder: Path) -> None:
    """Write them to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONFIGS / "engines" / "vllm-cpu.yaml", folder)
    text = yaml.safe_dump(_LIFECYCLE, sort_keys=False)
    (folder / f"{SMALL}.yaml").write_text(text, encoding="utf-8")
