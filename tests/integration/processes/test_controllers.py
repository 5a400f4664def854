"""Two controllers at once: one acts, and one that was stopped wakes up and writes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from lab.processes import Child, Command, running
from lab.stand_in import clean_environment
from lab.system.postgresql import Postgresql
from tests.support.eventually import eventually, eventually_so

pytestmark = pytest.mark.timeout(180)

ID = "11111111-1111-4111-8111-11111111111"
SITE = {
    "cluster": "c",
    "frameworks": {"vllm": {}},
    "globus_compute": {
        "client": "c",
        "endpoint_id": f"{ID}1",
        "functions": {"run_request": f"{ID}2", "site_status": f"{ID}3"},
    },
}
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerProcess:
    """A process with `--role controller`, and files of its own: what is written shows by whom."""

    name: str
    catalog: Path
    child: Child

    def describes(self, model: str) -> None:
        """Put a model into its files."""
        describe(self.catalog, model)

    def serves(self) -> bool:
        """Say whether it is up."""
        return bool(self.log("process_serves"))

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of its log about an event."""
        lines = self.child.command.log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    @property
    def fences(self) -> list[int]:
        """The numbers under which it was the active one."""
        return [entry["fence"] for entry in self.log("controller_active")]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        os.kill(self.child.pid, number)


@dataclass(frozen=True, slots=True)
class Tables:
    """What the database says."""

    url: str

    async def models(self) -> set[str]:
        """Return which models there are."""
        return {row[0] for row in await self._rows("SELECT model_id FROM catalog_model")}

    async def numbers(self) -> tuple[int, int]:
        """Return the catalog's version and the lease's number."""
        ((version, fence),) = await self._rows(
            "SELECT v.version, l.fence FROM catalog_version v, controller_lease l"
        )
        return version, fence

    async def hold(self, models: set[str]) -> None:
        """Wait until these models are there, and no others."""

        async def there() -> bool:
            return await self.models() == models

        await eventually_so(there, seconds=WITHIN_S, every_s=0.05)

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.url, connect_timeout=10) as opened:
            return await (await opened.execute(query.encode())).fetchall()


def describe(catalog: Path, model: str) -> None:
    place = {"cluster": SITE["cluster"], "framework": "vllm"}
    files = {"sites/c.yaml": SITE, f"models/{model}.yaml": {"id": model, "deployments": [place]}}
    for name, values in files.items():
        (catalog / name).parent.mkdir(parents=True, exist_ok=True)
        (catalog / name).write_text(yaml.safe_dump(values), encoding="utf-8")


@asynccontextmanager
async def controller(folder: Path, name: str, url: str) -> AsyncIterator[ControllerProcess]:
    state = folder / name
    state.mkdir()
    describe(state / "catalog", f"of-{name}")
    client = state / "client.json"
    client.write_text('{"client_id": "c", "client_secret": "s"}')
    settings = {
        "state_dir": str(state),
        "secret_key": secrets.token_urlsafe(40),
        "catalog_dir": str(state / "catalog"),
        "globus_client_file": str(client),
        "globus_clients_dir": str(state),
        "database_url": url,
        "controller_lease_s": "1",
        "catalog_poll_s": "0.1",
        "log_format": "json",
    }
    command = Command(
        name=f"controller {name}",
        arguments=[sys.executable, "-m", "resource_server", "serve", "--role", "controller"],
        log=state / "controller.log",
        environment=clean_environment()
        | {f"HOTNODE_{key.upper()}": value for key, value in settings.items()},
    )
    async with running(command) as child:
        yield ControllerProcess(name=name, catalog=state / "catalog", child=child)


@pytest.fixture
async def tables(postgresql_server: Postgresql) -> AsyncIterator[Tables]:
    name = f"controllers_{secrets.token_hex(4)}"
    yield Tables(await postgresql_server.create_database(name))
    await postgresql_server.drop_database(name)


async def test_of_two_controllers_one_acts_and_one_that_was_stopped_writes_nothing(
    tables: Tables, tmp_path: Path
) -> None:
    async with (
        controller(tmp_path, "one", tables.url) as one,
        controller(tmp_path, "two", tables.url) as two,
    ):
        await both_serve(one, two)
        old, new = (one, two) if one.fences else (two, one)
        assert (old.fences, new.fences) == ([1], [])
        await tables.hold({f"of-{old.name}"})

        old.signal(signal.SIGSTOP)
        try:
            await tables.hold({f"of-{new.name}"})
            old.describes("too-late")
            before = await tables.numbers()
        finally:
            old.signal(signal.SIGCONT)
        await eventually(lambda: old.log("controller_lost_its_lease"), seconds=WITHIN_S)
        assert (before[1], new.fences) == (2, [2])

        # Whoever acts goes on acting, and the other has changed nothing.
        new.describes("afterwards")
        await tables.hold({f"of-{new.name}", "afterwards"})
        assert await tables.numbers() == (before[0] + 1, 2)
        assert old.fences == [1]

        new.signal(signal.SIGKILL)
        await tables.hold({f"of-{old.name}", "too-late"})
        assert old.fences == [1, 3]


async def both_serve(*controllers: ControllerProcess) -> None:
    async with asyncio.TaskGroup() as tasks:
        for one in controllers:
            tasks.create_task(one.child.until(one.serves, within_s=WITHIN_S))
