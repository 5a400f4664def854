"""A state directory belongs to one gateway at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.gateway import command, ready_file
from lab.processes import running
from resource_server.adapters import state_lock, systemd
from resource_server.config import SettingInvalid
from tests.support.gateway_processes import Processes

ID = "11111111-1111-4111-8111-11111111111"


def serve(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start another gateway with this state directory, and wait until it has given up."""
    catalog = folder.parent / "catalog"
    for name in ("sites", "models"):
        (catalog / name).mkdir(parents=True, exist_ok=True)
    functions = f"{{run_request: {ID}2, site_status: {ID}3}}"
    target = f"{{client: c, endpoint_id: {ID}1, functions: {functions}}}"
    (catalog / "sites/c.yaml").write_text(
        f"cluster: c\nframeworks: {{vllm: {{}}}}\nglobus_compute: {target}\n"
    )
    client = folder.parent / "client.json"
    client.write_text('{"client_id": "c", "client_secret": "s"}')
    values = {
        "state_dir": str(folder),
        "secret_key": "k" * 40,
        "catalog_dir": str(catalog),
        "globus_client_file": str(client),
        "globus_clients_dir": str(folder.parent),
        "port": "0",
    } | settings
    return subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-m", "resource_server", "serve", *arguments],
        env=os.environ | {f"HOTNODE_{name.upper()}": value for name, value in values.items()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_gateway_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with state_lock.held(folder, alone=True):
        (folder / "metrics").mkdir()
        (folder / "run").mkdir()
        for name in ("metrics/counter_a-1.db", "run/notify.sock"):
            (folder / name).write_text("of the first one")
        before = contents(folder)
        stores = {"database_url": "postgresql://h/d", "redis_url": "redis://h"}
        for arguments, settings in (((), {}), (("--workers=2",), stores)):
            ended = serve(folder, *arguments, **settings)
            assert ended.returncode == 2
            assert f"another gateway is using {folder}" in ended.stderr
        assert contents(folder) == before


def contents(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


def test_single_processes_of_one_gateway_share_it(tmp_path: Path) -> None:
    with (
        state_lock.held(tmp_path, alone=False),
        state_lock.held(tmp_path, alone=False),
        pytest.raises(SettingInvalid),
        state_lock.held(tmp_path, alone=True),
    ):
        raise AssertionError
    with state_lock.held(tmp_path, alone=True):
        pass


@pytest.mark.asyncio(loop_scope="module")
async def test_a_gateway_of_several_processes_holds_it(processes: Processes) -> None:
    with pytest.raises(SettingInvalid), state_lock.held(processes.gateway.folder, alone=False):
        raise AssertionError


@pytest.mark.asyncio(loop_scope="module")
async def test_single_web_processes_say_nowhere_in_it_where_they_listen(
    processes: Processes, tmp_path: Path
) -> None:
    """The file has one name, and they are several: each would take away what another wrote."""
    serving = command(
        tmp_path,
        processes.globus,
        port=0,
        database_url=processes.postgresql.url,
        redis_url=processes.redis.url,
    )
    announced = ready_file(tmp_path)
    announced.write_text("by somebody else")
    with systemd.noticing(tmp_path) as notices:
        web = replace(
            serving,
            arguments=[*serving.arguments, "--role", "web", "--no-migrate"],
            environment={**serving.environment, **notices.environment},
        )
        ready: list[int] = []

        def both_are_ready() -> bool:
            ready.extend(notices.ready())
            return len(ready) == 2

        async with running(web), running(web) as second:
            await second.until(both_are_ready, within_s=60)
            assert announced.read_text() == "by somebody else"
    assert announced.read_text() == "by somebody else"
