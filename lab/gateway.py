"""The gateway, run for the lab with a catalog of its own."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.processes import Child, Command, running
from lab.stand_in import StandIn

ROOT = Path(__file__).parents[1]
READY_WITHIN_S = 60.0
#: The lab's site as a cluster, and once more for who wants to see Globus Compute at work.
CLUSTER, BY_TASKS = "local", "local-tasks"
_PLACE = re.compile(r"^(\s*- \{ cluster: )local(, framework: \w+ \})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway: its address, its folder and its process."""

    url: str
    folder: Path
    process: Child

    @property
    def catalog(self) -> Path:
        """The catalog's folder: editing a file there reaches the running gateway."""
        return self.folder / "catalog"


def write_catalog(
    folder: Path, *, endpoint_id: str, functions: Path, client: str, public_key: str = ""
) -> None:
    """Write a catalog that offers the tiny models on this machine.

    With the key of a site that has enrolled it is two clusters: `local`, by relay, and
    `local-tasks`, by Globus Compute alone.
    """
    models = folder / "models"
    shutil.copytree(ROOT / "endpoint_configs" / "models", models, dirs_exist_ok=True)
    site: dict[str, object] = {
        "cluster": CLUSTER,
        "description": "This machine",
        "frameworks": {
            "vllm": {"reserved_fields": ["priority", "kv_transfer_params"], "cache_salt": True},
            # With `modality`, infinity takes `input` for addresses and fetches them.
            "infinity": {"texts_only": True, "reserved_fields": ["modality"]},
        },
        "globus_compute": {
            "client": client,
            "endpoint_id": endpoint_id,
            "functions_file": str(functions),
        },
    }
    if public_key:
        tasks = {"cluster": BY_TASKS, "description": "This machine, by Globus Compute alone"}
        _write_site(folder, site | tasks)
        site |= {"relay": {"public_key": public_key}, "transports": ["relay", "task"]}
        for file in models.glob("*.yaml"):
            _serve_by_tasks_too(file)
    _write_site(folder, site)


def _write_site(folder: Path, site: Mapping[str, object]) -> None:
    sites = folder / "sites"
    sites.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(site), sort_keys=False)
    (sites / f"{site['cluster']}.yaml").write_text(text, encoding="utf-8")


def _serve_by_tasks_too(model: Path) -> None:
    """Add the second cluster to a model's file, with the comments that people will read there."""
    text, found = _PLACE.subn(rf"\g<0>\n\g<1>{BY_TASKS}\g<2>", model.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{model}: no place '{CLUSTER}' was found")
    model.write_text(text, encoding="utf-8")


@asynccontextmanager
async def gateway(
    folder: Path, globus: StandIn, *, port: int = 0, **settings: str
) -> AsyncIterator[Gateway]:
    """Run a gateway beside the body; its catalog stands in `folder`/catalog already.

    `settings` are further settings by name, as `max_body_bytes="1000"`.
    """
    ready = ready_file(folder)
    serving = command(folder, globus, port=port, **settings)
    ready.unlink(missing_ok=True)
    async with running(serving) as child:
        await child.until(ready.exists, within_s=READY_WITHIN_S)
        yield Gateway(url=url(folder), folder=folder, process=child)


def command(folder: Path, globus: StandIn, *, port: int, **settings: str) -> Command:
    """Return how a gateway is started; see `gateway`."""
    if "metrics_token" not in settings:
        settings["metrics_token_file"] = str(_secret(folder / "metrics_token"))
    values = {
        "state_dir": str(folder),
        "secret_key_file": str(_secret(folder / "secret_key")),
        "catalog_dir": str(folder / "catalog"),
        "globus_client_file": str(globus.clients / "gateway.json"),
        "globus_clients_dir": str(globus.clients),
        "host": "127.0.0.1",
        "port": str(port),
    } | settings
    return Command(
        name="the gateway",
        arguments=[sys.executable, "-m", "resource_server", "serve", "--local-globus"],
        log=folder / "gateway.log",
        environment=globus.environment()
        | {f"HOTNODE_{name.upper()}": value for name, value in values.items()},
    )


def ready_file(folder: Path) -> Path:
    """Return what a gateway writes when it listens."""
    return folder / "gateway.json"


def url(folder: Path) -> str:
    """Return where the gateway of this folder listens, which was ready once."""
    return str(json.loads(ready_file(folder).read_text(encoding="utf-8"))["url"])


def _secret(path: Path) -> Path:
    """Return a file with a random secret, made now unless it is there."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path
