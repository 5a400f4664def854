"""The files of a catalog in which an enrolled site keeps a model that nobody has started."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import yaml

from tests.support.compute_site import FRAMEWORK
from tests.support.eventually import eventually_so
from tests.support.relay_site import RelaySite
from tests.support.site_links import ScriptedAgent

KEPT = "org/kept"


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def write_catalog(catalog: Path, site: RelaySite) -> None:
    """Write a catalog of this site alone, which has no endpoint, and of the model that it keeps."""
    for name in ("sites", "models"):
        (catalog / name).mkdir(parents=True)
    values = {"cluster": site.cluster, "frameworks": {FRAMEWORK: {}}}
    (catalog / "sites" / f"{site.cluster}.yaml").write_text(yaml.safe_dump(values))
    keep(catalog, site, transports=["relay"])


def keep(catalog: Path, site: RelaySite, *, transports: Sequence[str] = ("relay", "task")) -> None:
    """Enrol the site in its file, and describe a model that it keeps."""
    file = catalog / "sites" / f"{site.cluster}.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values |= {"relay": {"public_key": site.public_key}, "transports": list(transports)}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    model = {
        "id": KEPT,
        "deployments": [{"cluster": site.cluster, "framework": FRAMEWORK}],
        "lifecycle": {"gpus": 1, "walltime": "00:10:00"},
    }
    (catalog / "models" / "kept.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")


async def until_enrolled(port: int, site: RelaySite) -> None:
    """Wait until the hub lets the site's agent in: it reads the catalog now and then."""

    async def let_in() -> bool:
        try:
            async with ScriptedAgent.dialled(port, site.agent_credential()):
                return True
        except aiohttp.ClientError:
            return False

    await eventually_so(let_in, seconds=60, every_s=0.1)
