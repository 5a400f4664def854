from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from resource_server.domain.catalog import Catalog
from resource_server.domain.errors import CatalogInvalid
from resource_server.services.catalog import LiveCatalog
from resource_server.services.catalog_files import CatalogFiles
from resource_server.services.controller import Controller
from resource_server.store.catalog import CatalogTables, YamlCatalog
from resource_server.store.database import in_database
from resource_server.store.lease import LeaseTable
from resource_server.store.models import ModelRow, Origin
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("any_database")

ID = "7b5a0c0e-0000-4000-8000-00000000000"
SITE = f"""\
cluster: local
frameworks: {{vllm: {{}}}}
globus_compute:
  client: local
  endpoint_id: {ID}1
  functions: {{run_request: {ID}2, site_status: {ID}3}}
"""


def model(name: str, **fields: str) -> str:
    lines = [f"id: {name}", "deployments: [{cluster: local, framework: vllm}]"]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in fields.items())]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"sites/local.yaml": SITE, "models/a.yaml": model("a")}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


class Followed:
    """Files, the controller that brings them into the database, and a process that follows it."""

    def __init__(self, folder: Path) -> None:
        self.catalog = LiveCatalog(CatalogTables())
        self.source = YamlCatalog(folder)
        self.lease = LeaseTable("test", term_s=60)
        self.fence = 0

    async def start(self) -> None:
        fence = await self.lease.acquire()
        assert fence is not None
        self.fence = fence
        await self.source.sync(fence)
        await self.catalog.start()

    async def refresh(self) -> bool:
        await self.source.sync(self.fence)
        return await self.catalog.refresh()

    def current(self) -> Catalog:
        return self.catalog.current()


@pytest.fixture
def live(folder: Path) -> Followed:
    return Followed(folder)


async def settled(live: Followed) -> bool:
    """Look twice, since a change is taken up only when a second look finds it unchanged."""
    return any([await live.refresh(), await live.refresh()])


async def test_the_files_become_the_catalog(live):
    await live.start()
    catalog = live.current()
    assert set(catalog.clusters) == {"local"}
    assert catalog.clusters["local"].globus_compute.functions["run_request"] == f"{ID}2"
    assert set(catalog.models) == {"a"}
    assert catalog.models["a"].created > 0


async def test_a_new_file_is_taken_up_and_a_removed_one_let_go(live, folder):
    await live.start()
    (folder / "models/b.yaml").write_text(model("b"))
    (folder / "models/a.yaml").unlink()
    assert await settled(live)
    assert set(live.current().models) == {"b"}


async def test_without_a_change_the_snapshot_stays(live):
    await live.start()
    before = live.current()
    assert not await settled(live)
    assert live.current() is before


async def test_a_touched_file_that_says_the_same_makes_no_new_version(live, folder):
    await live.start()
    (folder / "models/a.yaml").write_text(model("a") + "# a comment\n")
    assert not await settled(live)


async def test_a_changed_model_keeps_the_time_it_was_created(live, folder):
    await live.start()
    created = live.current().models["a"].created
    long_ago = {"created_at": "2020-01-01T00:00Z"}
    await in_database(lambda: ModelRow.objects.filter(pk="a").update(**long_ago))
    (folder / "models/a.yaml").write_text(model("a", description="new"))
    await settled(live)
    assert live.current().models["a"].description == "new"
    assert live.current().models["a"].created < created


async def test_with_mistakes_the_last_good_catalog_serves_and_mending_them_helps(live, folder):
    await live.start()
    (folder / "models/a.yaml").write_text("id: [\n")
    with pytest.raises(CatalogInvalid):
        await settled(live)
    assert set(live.current().models) == {"a"}
    (folder / "models/a.yaml").write_text(model("c"))
    await settled(live)
    assert set(live.current().models) == {"c"}


async def test_rows_of_another_origin_survive_a_reload(live, folder):
    await live.start()
    spec = {"id": "x", "deployments": [{"cluster": "local", "framework": "vllm"}]}
    row = ModelRow(model_id="x", origin=Origin.API, spec=spec)
    await in_database(row.save)
    (folder / "models/b.yaml").write_text(model("b"))
    await settled(live)
    assert set(live.current().models) == {"a", "b", "x"}
    (folder / "models/x.yaml").write_text(model("x", description="mine now"))
    await settled(live)
    assert live.current().models["x"].description == ""


async def test_a_file_that_is_still_being_written_waits(live, folder):
    await live.start()
    (folder / "models/a.yaml").write_text(model("half"))
    assert not await live.refresh()
    (folder / "models/a.yaml").write_text(model("whole", description="longer"))
    assert not await live.refresh()
    assert set(live.current().models) == {"a"}
    assert await live.refresh()
    assert set(live.current().models) == {"whole"}


@pytest.mark.parametrize("gone", ["sites", "models"])
async def test_a_folder_that_is_away_is_a_mistake_and_no_empty_catalog(live, folder, gone):
    await live.start()
    (folder / gone).rename(folder / "elsewhere")
    with pytest.raises(CatalogInvalid, match="no such folder"):
        await settled(live)
    assert set(live.current().models) == {"a"}


async def test_models_that_are_all_gone_at_once_are_a_mistake_and_not_to_be_stopped(live, folder):
    await live.start()
    # So looks the folder of a file system that is not mounted.
    (folder / "models/a.yaml").unlink()
    with pytest.raises(CatalogInvalid, match="no model is described"):
        await settled(live)
    assert set(live.current().models) == {"a"}
    (folder / "models/b.yaml").write_text(model("b"))
    assert await settled(live)
    assert set(live.current().models) == {"b"}


async def test_a_changed_lock_file_counts_wherever_it_stands(live, folder, tmp_path_factory):
    lock = tmp_path_factory.mktemp("locks") / "functions.json"

    def register(last: str) -> None:
        entry = {"id": f"{ID}{last}"}
        lock.write_text(
            json.dumps({"functions": dict.fromkeys(("run_request", "site_status"), entry)})
        )

    register("8")
    inline = "  functions: {" + SITE.partition("  functions: {")[2]
    (folder / "sites/local.yaml").write_text(SITE.replace(inline, f"  functions_file: {lock}\n"))
    await live.start()
    await settled(live)
    register("9")
    os.utime(lock, ns=(1, 1))
    await settled(live)
    functions = live.current().clusters["local"].globus_compute.functions
    assert functions["run_request"] == f"{ID}9"


class TablesThatTell(CatalogTables):
    """The real tables, with a flag that is up once a snapshot holds a model."""

    def __init__(self, awaited: str) -> None:
        self.awaited = awaited
        self.loaded = asyncio.Event()

    async def load(self) -> Catalog:
        catalog = await super().load()
        if self.awaited in catalog.models:
            self.loaded.set()
        return catalog


@asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_both_loops_outlive_a_mistake(folder, caplog):
    tables = TablesThatTell("c")
    live = LiveCatalog(tables)
    files = CatalogFiles(YamlCatalog(folder), every_s=0.01)
    controller = Controller(LeaseTable("test", term_s=60), [files], term_s=60)
    await controller.start(files.take)
    await live.start()
    (folder / "models/a.yaml").write_text("id: [\n")
    async with running(controller.run(), live.follow(every_s=0.01)):
        await eventually(lambda: "catalog_invalid" in caplog.text)
        (folder / "models/a.yaml").write_text(model("c"))
        await asyncio.wait_for(tables.loaded.wait(), 10)
