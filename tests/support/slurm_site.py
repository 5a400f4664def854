"""A site's directory with a `site.yaml`, one engine and one model, for tests of the agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from compute_functions.orders import Order
from compute_functions.site import SiteDirectory

MODEL = "org/tiny"
FRAMEWORK = "vllm"

ENGINE: dict[str, Any] = {
    "framework": FRAMEWORK,
    "command": ["serve", "{model_path}", "{model}", "{socket}"],
    "api_key_variable": "KEY",
    "environment": {},
    "inherited": ["PATH"],
    "paths": ["/v1/completions"],
    "health_path": "/health",
    "probes": {"completions": {"body": {"prompt": "x"}}},
    "watch_every_s": 5,
    "start_deadline_s": 900,
    "drain_s": 1,
    "stop_grace_s": 10,
    "required_arguments": {},
    "reserved_arguments": ["--trust-remote-code"],
}


def site_yaml(folder: Path) -> dict[str, Any]:
    """Return what a site's file says; everything it names stands in `folder`."""
    return {
        "cluster": "alpha",
        "scheduler": "slurm",
        "provider": {"partition": "gpu"},
        "models": {
            "engine_files": str(folder / "engines"),
            "engines": ["vllm"],
            "model_files": [str(folder / "models")],
            "weight_roots": [str(folder / "weights")],
        },
        "limits": {"gpus": 4, "walltime_s": 7200, "jobs": 8},
    }


def write_site(folder: Path, values: dict[str, Any]) -> SiteDirectory:
    """Make a site whose file says `values`, with one engine and the model `MODEL`."""
    site = SiteDirectory(folder / "site")
    site.prepare()
    for name in ("engines", "models", "weights/tiny"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "engines" / "vllm.yaml").write_text(yaml.safe_dump(ENGINE))
    write_model(folder, "tiny.yaml")
    (site.root / "site.yaml").write_text(yaml.safe_dump(values))
    return site


def write_model(folder: Path, name: str, **changes: Any) -> None:
    """Write a model's file; a field that is changed to None is left out."""
    values = {"id": MODEL, "engine": "vllm", "path": "../weights/tiny"} | changes
    given = {field: value for field, value in values.items() if value is not None}
    (folder / "models" / name).write_text(yaml.safe_dump(given))


def order(
    instance: str = "org-tiny-00000001",
    *,
    gpus: int = 1,
    walltime_s: float = 600,
    hot: bool = False,
) -> Order:
    """Return an order for an instance of `MODEL`."""
    return Order(
        instance=instance,
        model=MODEL,
        framework=FRAMEWORK,
        engine_file="engines/vllm.yaml",
        model_file="models/tiny.yaml",
        gpus=gpus,
        walltime_s=walltime_s,
        submitted_at=1.0,
        generation=3,
        fence=7,
        hot=hot,
    )
