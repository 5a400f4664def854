"""Starting: by one of several who would, in an environment without the endpoint's secrets."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from compute_functions import site_config
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import starting
from compute_functions.site_config import KeeperSettings
from tests.support import slurm_site

OURS = {
    "PATH": "/usr/bin",
    "HOME": "/home/hotnode",
    "SLURM_CONF": "/etc/slurm.conf",
    "LMOD_DIR": "/opt/lmod",
    "https_proxy": "http://proxy",
    "GLOBUS_COMPUTE_CLIENT_ID": "id",
    "GLOBUS_COMPUTE_CLIENT_SECRET": "s3cret",
    "SQUEUE_FORMAT": "%all",
    "PYTHONPATH": "/somewhere",
    "CENTRE_TOKEN": "of the centre",
}


@pytest.fixture
def site(tmp_path: Path) -> SiteDirectory:
    return slurm_site.write_site(tmp_path, slurm_site.site_yaml(tmp_path))


def test_the_environment_is_what_schedulers_need_and_the_site_named(site: SiteDirectory) -> None:
    config = site_config.load(site)
    kept = {"PATH", "HOME", "SLURM_CONF", "LMOD_DIR", "https_proxy", "HOTNODE_SITE_DIR"}
    assert starting.environment(OURS, site, config).keys() == kept
    named = replace(config, job=replace(config.job, inherit=("CENTRE_TOKEN",)))
    assert starting.environment(OURS, site, named).keys() == kept | {"CENTRE_TOKEN"}


def test_an_agent_that_calls_keepers_has_the_client_unless_files_hold_it(
    site: SiteDirectory, tmp_path: Path
) -> None:
    keeper = KeeperSettings(endpoint=str(uuid4()), functions=tmp_path / "lock")
    config = replace(site_config.load(site), keeper=keeper)
    assert starting.environment(OURS, site, config)["GLOBUS_COMPUTE_CLIENT_SECRET"] == "s3cret"
    files = replace(keeper, client_id_file=tmp_path / "id", client_secret_file=tmp_path / "secret")
    filed = replace(config, keeper=files)
    assert "GLOBUS_COMPUTE_CLIENT_SECRET" not in starting.environment(OURS, site, filed)


def test_one_of_several_starts_it_and_another_after_a_while(site: SiteDirectory) -> None:
    assert [starting.is_ours(site) for _ in range(4)] == [True, False, False, False]
    for age_s in (starting.AGAIN_S + 1, -3600):  # Also after a clock was set back.
        old = time.time() - age_s
        os.utime(site.agent / "starting", (old, old))
        assert [starting.is_ours(site) for _ in range(2)] == [True, False]
