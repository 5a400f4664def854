"""`site.yaml`: read whole, and every complaint says where."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions import site_config
from compute_functions.endpoint_files import CONFIGS
from compute_functions.errors import ConfigurationError, FieldError
from compute_functions.site import SiteDirectory
from compute_functions.site_config import site_file
from tests.support.slurm_site import site_yaml, write_site

KEEPER = {"endpoint": "00000000-0000-4000-8000-000000000000", "functions": "lock.json"}
SAMPLE = CONFIGS / "templates" / "slurm" / "site.yaml"


def changed(folder: Path, path: str, value: object) -> SiteDirectory:
    """Return a site whose file has one field changed, or left out for None."""
    values = site_yaml(folder)
    *sections, name = path.split(".")
    inner: dict[str, Any] = values
    for section in sections:
        inner = inner.setdefault(section, {})
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    return write_site(folder, values)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Who can put another `site.yaml` or order there decides what our jobs run."""
    site = write_site(tmp_path, site_yaml(tmp_path))
    site.root.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"others may write .*: chmod 700"):
        site_config.load(site)


def test_a_file_that_others_may_write_is_refused_where_they_reach_it(tmp_path: Path) -> None:
    site = write_site(tmp_path, site_yaml(tmp_path))
    file = site.root / "site.yaml"
    file.chmod(0o666)
    assert site_config.load(site).file == file
    site.root.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"others may write .*site\.yaml: chmod 600"):
        site_config.load(site)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    config = site_config.load(write_site(tmp_path, site_yaml(tmp_path)))

    assert config.cluster == "alpha"
    assert config.provider.gpu_option(2) == "--gres=gpu:2"
    assert config.provider.gpu_option(0) is None
    assert config.provider.parsl_arguments() == {
        "partition": "gpu",
        "exclusive": False,
        "scheduler_options": "",
        "worker_init": "",
        "cmd_timeout": 10,
    }
    assert config.hot == config.on_demand == config.provider
    assert config.job.python == Path(sys.executable)
    assert (config.limits.surge, config.limits.heartbeat_s) == (1, 2.0)


def test_roles_differ_where_the_file_says_so(tmp_path: Path) -> None:
    values = site_yaml(tmp_path)
    values["provider"] |= {"qos": "normal", "scheduler_options": "#SBATCH --mem=1G\n"}
    values["hot"] = {"partition": "hot", "qos": "hot", "scheduler_options": "#SBATCH --nice=0"}
    config = site_config.load(write_site(tmp_path, values))

    assert (config.block(hot=True).partition, config.block(hot=True).qos) == ("hot", "hot")
    assert config.hot.scheduler_options == "#SBATCH --mem=1G\n#SBATCH --nice=0"
    assert (config.block(hot=False).partition, config.block(hot=False).qos) == ("gpu", "normal")
    assert config.partitions == {"gpu", "hot"}


def test_with_slurm_s_default_partition_all_are_looked_at(tmp_path: Path) -> None:
    values = site_yaml(tmp_path)
    values["provider"] = {"account": "a"}
    values["hot"] = {"partition": "hot"}

    assert site_config.load(write_site(tmp_path, values)).partitions == frozenset()


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("clustre", "a", "clustre: unknown; known are batches, cluster"),
        ("cluster", "A b", "cluster: must be small letters"),
        ("scheduler", "pbs", "scheduler: 'pbs' is unknown; known are slurm"),
        ("provider.nodes_per_block", 2, "provider.nodes_per_block: unknown"),
        ("provider.partition", "gpu\n#SBATCH --uid=0", "provider.partition: must be one word"),
        ("provider.clusters", "a,b", "provider.clusters: must name one cluster"),
        ("provider.exclusive", "perhaps", "provider.exclusive: must be true or false"),
        ("provider.cmd_timeout", 0, "provider.cmd_timeout: must be a whole number, 1 or more"),
        ("provider.gpus", "--gres=gpu:{n}", "provider.gpus: must be an option of sbatch"),
        ("provider.gpus", "gpu:{gpus}", "provider.gpus: must be an option of sbatch"),
        ("provider.scheduler_options", "rm -rf x", "does not begin with #SBATCH"),
        ("provider.scheduler_options", '#SBATCH --x="y', "No closing quotation"),
        ("hot.exclusive", True, "hot.exclusive: unknown"),
        ("job.python", "nowhere", "job.python: there is no file"),
        ("job.environment", {"A B": "c"}, "job.environment: 'A B' is no name"),
        ("models.weight_roots", ["nowhere"], "models.weight_roots: there is no folder"),
        ("models.engines", ["sglang"], "models.engines: there is no"),
        ("models", None, "models: is missing"),
        ("limits.gpus", None, "limits.gpus: is missing"),
        ("limits.jobs", "many", "limits.jobs: must be a whole number"),
        ("limits.walltime_s", -1, "limits.walltime_s: must be a number of seconds"),
        ("keeper", {"endpoint": "x", "functions": "f"}, "keeper.endpoint: must be an endpoint's"),
        ("keeper", KEEPER | {"client_id_file": "f"}, "keeper.client_id_file: give both files"),
        ("limits.heartbeat_s", 60, "limits.heartbeat_s: must be at most 15"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, path: str, value: object, complaint: str) -> None:
    site = changed(tmp_path, path, value)

    with pytest.raises(FieldError, match=re.escape(complaint)) as found:
        site_config.load(site)
    assert found.value.file == site.root / "site.yaml"
    assert found.value.line > 0


def test_a_directory_that_slurm_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a site's directory"):
        site_config.load(SiteDirectory(tmp_path / "100%"))


def test_a_site_may_have_keepers(tmp_path: Path) -> None:
    config = site_config.load(changed(tmp_path, "keeper", KEEPER))

    assert config.keeper is not None
    assert config.keeper.endpoint == KEEPER["endpoint"]
    environment = {"GLOBUS_COMPUTE_CLIENT_ID": "i", "GLOBUS_COMPUTE_CLIENT_SECRET": "s"}
    assert config.keeper.client(environment).id == "i"
    with pytest.raises(ConfigurationError, match="must be set"):
        config.keeper.client({})


def sample_in(folder: Path) -> Path:
    """Return a copy of the sample whose paths lead into `folder`."""
    for name in ("hotnode/models", "hotnode/engines", "hotnode/installed", "weights"):
        (folder / name).mkdir(parents=True)
    (folder / "hotnode/engines/vllm.yaml").write_text((CONFIGS / "engines/vllm.yaml").read_text())
    copy = folder / "site.yaml"
    copy.write_text(SAMPLE.read_text().replace("/shared/", f"{folder}/"))
    return copy


def test_the_sample_is_valid(tmp_path: Path) -> None:
    config = site_file.load_file(sample_in(tmp_path))

    assert (config.hot.qos, config.on_demand.qos) == ("hot", "preemptible")
    assert config.models.extra_arguments == {"vendor/needs-its-own-code": ("--trust-remote-code",)}


def test_the_sample_shows_every_field() -> None:
    text = SAMPLE.read_text()
    fields = {
        *site_config.ProviderBlock.__slots__,
        *site_config.JobSettings.__slots__,
        *site_config.ModelPolicy.__slots__,
        *site_config.Limits.__slots__,
        *site_config.KeeperSettings.__slots__,
        "keeper",
        *yaml.safe_load(text),
    }

    missing = [
        field for field in fields if not re.search(rf"^ *(# +)?{field}:", text, re.MULTILINE)
    ]
    assert missing == []
