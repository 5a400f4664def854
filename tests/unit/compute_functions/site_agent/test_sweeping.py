"""What a site's directory is rid of: what nobody needs any more, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compute_functions.contract import InstanceState
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory
from compute_functions.site_agent.site_files import ENDED_KEPT_S, LOGS_KEPT_S, sweep

NOW = time.time()
LONG_AGO = NOW - ENDED_KEPT_S - 60


@pytest.fixture
def site(tmp_path: Path) -> SiteDirectory:
    site = SiteDirectory(tmp_path / "site")
    site.prepare()
    return site


def register(site: SiteDirectory, name: str, state: InstanceState, heartbeat: float) -> None:
    (site.keys / name).write_text("key", encoding="utf-8")
    Registration(
        name=name,
        model="m",
        framework="vllm",
        state=state,
        endpoint="/socket",
        api_key_file=str(site.keys / name),
        pid=1,
        pid_start=1,
        job_id="7",
        host="elsewhere",
        started_at=heartbeat,
        heartbeat=heartbeat,
        paths={},
    ).write(site)


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_of_instances_that_ended_long_ago_nothing_is_left(site: SiteDirectory) -> None:
    register(site, "ended", InstanceState.STOPPED, LONG_AGO)
    # Its node lost its power: it never said that it ended.
    register(site, "lost", InstanceState.READY, LONG_AGO)
    register(site, "just-ended", InstanceState.STOPPED, NOW)
    register(site, "ready", InstanceState.READY, NOW)
    register(site, "silent", InstanceState.READY, LONG_AGO)
    sweep(site, alive={"ready", "silent"}, now=NOW)
    assert names(site.instances) == names(site.keys) == {"just-ended", "ready", "silent"}


def test_credentials_and_orders_to_drain_of_nobody_go(site: SiteDirectory) -> None:
    for folder in (site.credentials, site.control):
        for name, written_at in (("old", LONG_AGO), ("alive", LONG_AGO), ("new", NOW)):
            path = folder / f"{name}.json"
            path.write_text("{}", encoding="utf-8")
            os.utime(path, (written_at, written_at))
    sweep(site, alive={"alive"}, now=NOW)
    assert names(site.credentials) == names(site.control) == {"alive", "new"}


def test_old_logs_go(site: SiteDirectory) -> None:
    for name, age_s in (("old", LOGS_KEPT_S + 60), ("new", LOGS_KEPT_S - 60)):
        path = site.logs / f"{name}.log"
        path.write_text("line", encoding="utf-8")
        os.utime(path, (NOW - age_s, NOW - age_s))
    sweep(site, alive=(), now=NOW)
    assert names(site.logs) == {"new"}
