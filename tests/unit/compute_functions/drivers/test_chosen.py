"""Which driver a site's file asks for."""

from __future__ import annotations

from pathlib import Path

from compute_functions import site_config
from compute_functions.drivers.chosen import chosen
from compute_functions.drivers.keeper import KeeperDriver
from compute_functions.drivers.provider import ProviderDriver
from tests.support.slurm_site import site_yaml, write_site

ENVIRONMENT = {"GLOBUS_COMPUTE_CLIENT_ID": "i", "GLOBUS_COMPUTE_CLIENT_SECRET": "s"}


def test_jobs_are_submitted_by_the_agent_itself(tmp_path: Path) -> None:
    site = write_site(tmp_path, site_yaml(tmp_path))

    assert isinstance(chosen(site, site_config.load(site), {}), ProviderDriver)


def test_a_site_with_keepers_gets_theirs(tmp_path: Path) -> None:
    keeper = {"endpoint": "00000000-0000-4000-8000-000000000000", "functions": "lock.json"}
    site = write_site(tmp_path, site_yaml(tmp_path) | {"keeper": keeper})

    assert isinstance(chosen(site, site_config.load(site), ENVIRONMENT), KeeperDriver)
