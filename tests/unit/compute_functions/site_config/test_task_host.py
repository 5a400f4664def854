"""Where functions on the login node reach a node's instances."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions import site_config
from compute_functions.errors import FieldError
from tests.support.slurm_site import site_yaml, write_site


def load(folder: Path, **job: object) -> str:
    site = write_site(folder, site_yaml(folder) | {"job": job})
    return site_config.load(site).job.task_host


def test_without_one_nodes_are_not_reached(tmp_path: Path) -> None:
    assert load(tmp_path) == ""


@pytest.mark.parametrize("host", ["{node}", "{node}-ib0", "{node}.cluster.example.org", "10.1.2.3"])
def test_it_is_the_node_s_name_or_made_of_it(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, task_host=host) == host


@pytest.mark.parametrize("host", ["", "{host}", "https://{node}", "{node}:8000/x", "a b"])
def test_what_is_no_address_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(FieldError, match=r"job\.task_host|task_host"):
        load(tmp_path, task_host=host)
