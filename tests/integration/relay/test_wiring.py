"""The hub's own wiring: relays of the database's catalog, which may come later than the hub."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from resource_server.adapters import catalog_files
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.config import SettingInvalid, Settings
from resource_server.container.catalog import follow_catalog
from resource_server.container.relays import open_relays
from resource_server.services.site_board import SiteBoard
from resource_server.store.catalog import replace_yaml_rows
from resource_server.store.database import in_database
from resource_server.store.lease import LeaseTable
from tests.conftest import gateway_settings
from tests.support.eventually import eventually_so
from tests.support.relay_double import Dialler, echoing
from tests.support.relay_hub import asking
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite

pytestmark = pytest.mark.usefixtures("database")
ID = "7b5a0c0e-0000-4000-8000-00000000000"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def settings(folder: Path, port: int) -> Settings:
    return gateway_settings(folder, relay_port=port, catalog_poll_s=0.05)


async def offered(site: RelaySite, folder: Path) -> None:
    """Bring the site into the database as a controller does."""
    values = {
        "cluster": site.cluster,
        "frameworks": {FRAMEWORK: {}},
        "relay": {"public_key": site.public_key},
        "globus_compute": {
            "client": "local",
            "endpoint_id": f"{ID}1",
            "functions": {"run_request": f"{ID}2", "site_status": f"{ID}3"},
        },
    }
    model = {"id": MODEL, "deployments": [{"cluster": site.cluster, "framework": FRAMEWORK}]}
    for name, document in (("sites", values), ("models", model)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "one.yaml").write_text(json.dumps(document))
    fence = await LeaseTable("test", term_s=60).acquire()
    assert fence is not None
    await in_database(replace_yaml_rows, catalog_files.read(folder), fence)


async def test_a_site_that_is_added_may_dial_in(tmp_path: Path) -> None:
    site, port = RelaySite.enrolled(), free_port()
    async with (
        follow_catalog(settings(tmp_path, port)) as catalog,
        open_relays(
            settings(tmp_path, port), catalog, Instrumentation(), board=SiteBoard("hub")
        ) as backend,
        Dialler.to(port) as dialler,
    ):

        async def known() -> bool:
            return bool(catalog.checked_at)

        await eventually_so(known)
        assert await dialler.refused(site.credential()) == 403
        await offered(site, tmp_path)

        async def taken_up() -> bool:
            return site.cluster in catalog.current().clusters

        await eventually_so(taken_up)
        relay = await dialler.connected(site)
        cluster = catalog.current().cluster(site.cluster)
        assert backend.serves(cluster, asking())
        async with echoing(relay):
            assert (await backend.infer(cluster, asking(b"[1]"))).body == b"[1]"
        used = list((tmp_path / "redeemed").iterdir())
        assert len(used) == 1


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = settings(tmp_path, port)
        async with follow_catalog(given) as catalog:
            with pytest.raises(SettingInvalid, match=str(port)):
                async with open_relays(given, catalog, Instrumentation(), board=SiteBoard("hub")):
                    pass
