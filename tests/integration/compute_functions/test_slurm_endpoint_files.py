"""The Slurm templates, rendered by us and then by the agent's own code, and loaded by it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
import yaml
from globus_compute_endpoint.endpoint.config.config import CoreEndpointConfig
from globus_compute_endpoint.endpoint.config.utils import (
    load_config_yaml,
    render_config_user_template,
)
from globus_compute_endpoint.endpoint.identity_mapper import MappedPosixIdentity

from compute_functions import site_config
from compute_functions.endpoint import Endpoint
from compute_functions.endpoint_files import TEMPLATES, Settings
from compute_functions.errors import ConfigurationError
from tests.support.slurm_site import site_yaml, write_site

BLOCKS = {"role": "blocks", "gpus": 2, "walltime_minutes": 90}
#: What could break out of a template, of YAML or of a shell.
NASTY = "echo \"{{ 1 }} {% raw %} [[ x ]] ${#a[@]} 'q' ü\" # }} %}\n"


def configured(folder: Path, **changes: dict[str, Any]) -> Endpoint:
    values = site_yaml(folder)
    for section, fields in changes.items():
        values[section] = values.get(section, {}) | fields
    site = write_site(folder, values)
    endpoint = Endpoint(name="site", user_dir=folder / "compute", environment={})
    endpoint.configure(
        Settings(
            templates=TEMPLATES / "slurm",
            site_dir=site.root,
            allowed_functions=(str(uuid4()),),
            display_name="site",
            heartbeat_period=5,
            email="operator@example.org",
            site_config=site_config.load(site),
        )
    )
    return endpoint


def rendered(endpoint: Endpoint, options: dict[str, Any]) -> dict[str, Any]:
    core = load_config_yaml((endpoint.folder / "config.yaml").read_text())
    assert isinstance(core, CoreEndpointConfig)
    template = endpoint.folder / "user_config_template.yaml.j2"
    text: str = render_config_user_template(
        core,
        template.read_text(),
        template,
        MappedPosixIdentity(pwd.getpwuid(os.getuid()), [], str(uuid4())),
        json.loads((endpoint.folder / "user_config_schema.json").read_text()),
        options,
    )
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.mark.parametrize("options", [{}, {"role": "login"}])
def test_the_login_role_runs_no_jobs(tmp_path: Path, options: dict[str, str]) -> None:
    read = rendered(configured(tmp_path), options)

    assert read["idle_heartbeats_soft"] == 0
    assert read["engine"]["type"] == "ThreadPoolEngine"
    assert "provider" not in read["engine"]


def test_the_longest_walltime_is_a_full_minute_as_keepers_ask_for_it(tmp_path: Path) -> None:
    endpoint = configured(tmp_path, limits={"walltime_s": 90})
    read = rendered(endpoint, BLOCKS | {"walltime_minutes": 2})

    assert read["engine"]["provider"]["walltime"] == "00:02:00"
    with pytest.raises(jsonschema.ValidationError):
        rendered(endpoint, BLOCKS | {"walltime_minutes": 3})


def test_the_blocks_role_has_the_site_s_provider_block(tmp_path: Path) -> None:
    endpoint = configured(
        tmp_path,
        provider={"account": "a1", "worker_init": NASTY, "scheduler_options": "#SBATCH --nice=1"},
        hot={"qos": "hot"},
        job={"environment": {"NASTY": NASTY}},
    )

    engine = rendered(endpoint, BLOCKS)["engine"]

    provider = engine.pop("provider")
    assert engine == {
        "type": "GlobusComputeEngine",
        "label": "hotnode",
        "max_workers_per_node": 1,
        "cores_per_worker": 1e-6,
        "drain_period": 5,
        "max_retries_on_system_failure": 0,
        "heartbeat_period": 5,
        "heartbeat_threshold": 20,
        "job_status_kwargs": {"strategy": "simple", "strategy_period": 1, "max_idletime": 10},
        "allowed_serializers": [
            "globus_compute_sdk.serialize.PureSourceTextInspect",
            "globus_compute_sdk.serialize.JSONData",
        ],
    }
    assert (provider["partition"], provider["account"]) == ("gpu", "a1")
    assert (provider["exclusive"], provider["nodes_per_block"]) == (False, 1)
    assert (provider["init_blocks"], provider["min_blocks"], provider["max_blocks"]) == (0, 0, 8)
    assert provider["walltime"] == "01:30:00"
    assert NASTY in provider["worker_init"]
    options = "#SBATCH --nice=1\n#SBATCH --no-requeue\n#SBATCH --gres=gpu:2"
    assert provider["scheduler_options"] == options
    assert "qos" not in provider


def test_hot_blocks_have_what_the_role_says(tmp_path: Path) -> None:
    endpoint = configured(tmp_path, hot={"qos": "hot", "partition": "fast"})

    provider = rendered(endpoint, BLOCKS | {"hot": True, "gpus": 0})["engine"]["provider"]

    assert (provider["qos"], provider["partition"]) == ("hot", "fast")
    assert "--gres" not in provider["scheduler_options"]


@pytest.mark.parametrize(
    "options",
    [
        {"role": "other"},
        {"role": "blocks"},
        {"role": "login", "gpus": 1},
        BLOCKS | {"gpus": 5},
        BLOCKS | {"walltime_minutes": 121},
        BLOCKS | {"worker_init": "rm"},
        BLOCKS | {"gpus": "1\nx"},
    ],
)
def test_a_submission_chooses_within_the_site_s_limits(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        rendered(configured(tmp_path), options)


def test_these_templates_need_a_site_s_file(tmp_path: Path) -> None:
    endpoint = Endpoint(name="site", user_dir=tmp_path / "compute", environment={})
    settings = Settings(
        templates=TEMPLATES / "slurm",
        site_dir=tmp_path / "site",
        allowed_functions=(),
        display_name="site",
        heartbeat_period=5,
        email="operator@example.org",
    )

    with pytest.raises(ConfigurationError, match="give --site-config"):
        endpoint.configure(settings)
