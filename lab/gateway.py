"""The gateway, run for the lab with a catalog of its own."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.processes import Child, Command, running
from lab.stand_in import StandIn

ROOT = Path(__file__).parents[1]
READY_WITHIN_S = 60.0


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


def write_catalog(folder: Path, *, endpoint_id: str, functions: Path, client: str) -> None:
    """Write a catalog that offers the tiny models on one cluster, `local`."""
    shutil.copytree(ROOT / "endpoint_configs" / "models", folder / "models", dirs_exist_ok=True)
    site = {
        "cluster": "local",
        "description": "This machine",
        "frameworks": {
            "vllm": {"reserved_fields": ["priority", "kv_transfer_params"]},
            # With `modality`, infinity takes `input` for addresses and fetches them.
            "infinity": {"texts_only": True, "reserved_fields": ["modality"]},
        },
        "globus_compute": {
            "client": client,
            "endpoint_id": endpoint_id,
            "functions_file": str(functions),
        },
    }
    sites = folder / "sites"
    sites.mkdir(parents=True, exist_ok=True)
    (sites / "local.yaml").write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")


@asynccontextmanager
async def gateway(
    folder: Path, globus: StandIn, *, port: int = 0, **settings: str
) -> AsyncIterator[Gateway]:
    """Run a gateway beside the body; its catalog stands in `folder`/catalog already.

    `settings` are further settings by name, as `max_body_bytes="1000"`.
    """
    ready = folder / "gateway.json"
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
    command = Command(
        name="the gateway",
        arguments=[sys.executable, "-m", "resource_server", "serve", "--local-globus"],
        log=folder / "gateway.log",
        environment=globus.environment()
        | {f"HOTNODE_{name.upper()}": value for name, value in values.items()},
    )
    ready.unlink(missing_ok=True)
    async with running(command) as child:
        await child.until(ready.exists, within_s=READY_WITHIN_S)
        url = json.loads(ready.read_text(encoding="utf-8"))["url"]
        yield Gateway(url=url, folder=folder, process=child)


def _secret(path: Path) -> Path:
    """Return a file with a random secret, made now unless it is there."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path
