"""The hub's own wiring: relays of the database's catalog, which may come later than the hub."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from compute_functions.contract.batches import BatchCall, BatchReports, BatchVerb
from compute_functions.site_agent import functions
from compute_functions.site_agent.calls import Calls
from resource_server.adapters import catalog_files
from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.site_calls.pauses import BY_TASK_S
from resource_server.config import SettingInvalid, Settings
from resource_server.container.catalog import follow_catalog
from resource_server.container.clusters import open_transports
from resource_server.container.relays import open_relays
from resource_server.domain import errors
from resource_server.domain.site_functions import SiteFunction
from resource_server.services.site_board import SiteBoard
from resource_server.store.catalog import replace_yaml_rows
from resource_server.store.database import in_database
from resource_server.store.lease import LeaseTable
from tests.conftest import gateway_settings
from tests.support import batch_orders
from tests.support.agent_links import agent_link
from tests.support.eventually import eventually, eventually_so
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
        ) as relays,
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
        backend = relays.backend
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


async def test_an_agent_that_dials_in_is_called_by_its_link(tmp_path: Path) -> None:
    site, port = RelaySite.enrolled(), free_port()
    given = settings(tmp_path, port)
    await offered(site, tmp_path)
    spool = batch_orders.batch_site(tmp_path / "shared")
    async with (
        follow_catalog(given) as catalog,
        open_transports(given, Instrumentation(), catalog) as clusters,
        agent_link(port, site, tmp_path, Calls(functions.of(spool.site))) as (_, link),
    ):
        calls, cluster = clusters.calls, catalog.current().cluster(site.cluster)
        assert calls is not None
        await eventually(lambda: calls.pause_s(cluster) < BY_TASK_S)
        assert link.is_open
        asked = BatchCall(verb=BatchVerb.REPORT, batches=("batch_00000001",)).to_wire()
        wire = await calls.call(cluster, SiteFunction.RUN_BATCH, asked)
        assert BatchReports.from_wire(wire).unknown == ("batch_00000001",)
    # Its endpoint has no such function: without the link there is no way.
    with pytest.raises(errors.BackendUnavailable):
        await calls.call(cluster, SiteFunction.RUN_BATCH, asked)
