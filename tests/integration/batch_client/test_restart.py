"""A watched batch, and the gateway's process is killed and started again meanwhile."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import yaml

from lab.gateway import gateway
from lab.stand_in import StandIn
from lab.system.loopback import free_port
from tests.support.batch_client import Person
from tests.support.batch_gateway import GROUPS
from tests.support.batch_orders import lines
from tests.support.local_globus import LocalGlobus
from tests.support.slurm_site import FRAMEWORK, MODEL

People = tuple[LocalGlobus, dict[str, str]]


def write_catalog(folder: Path) -> None:
    """Write a catalog of a model that takes batches, at a site that is offline."""
    site = {
        "cluster": "site",
        "frameworks": {FRAMEWORK: {}},
        "relay": {"public_key": base64.b64encode(bytes(32)).decode()},
        "batches": {"groups": sorted(GROUPS)},
    }
    model = {
        "id": MODEL,
        "flags": ["B"],
        "deployments": [{"cluster": "site", "framework": FRAMEWORK}],
        "lifecycle": {"gpus": 0},
    }
    for name, values in {"sites/site.yaml": site, "models/model.yaml": model}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values))


async def test_watch_outlives_the_gateway(people: People, tmp_path: Path) -> None:
    globus, tokens = people
    stand_in = StandIn(url=globus.url, folder=globus.state)
    folder, port = tmp_path / "gateway", free_port()
    write_catalog(folder / "catalog")
    (tmp_path / "in.jsonl").write_bytes(lines())
    alice = Person(folder=tmp_path, base_url=f"http://127.0.0.1:{port}/v1", token=tokens["alice"])
    async with gateway(folder, stand_in, port=port) as first:
        made = await alice.batch("submit", "in.jsonl", "--quiet")
        assert made.status == 0, made.err
        async with alice.begun("watch", made.out.strip()) as watching:
            await watching.says("validating")
            os.kill(first.process.pid, signal.SIGKILL)
            await watching.says("cannot be reached")
            async with gateway(folder, stand_in, port=port):
                cancelled = await alice.batch("cancel", made.out.strip())
                assert cancelled.status == 0, cancelled.err
                ended = await watching.ended()
    assert ended.status == 4, ended.err
    assert "cancelled" in ended.out
