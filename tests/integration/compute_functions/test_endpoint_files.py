"""An endpoint's files: rendered by us, then by the agent's own code, and loaded by it."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
import yaml
from globus_compute_endpoint.endpoint.config.config import CoreEndpointConfig, UserEndpointConfig
from globus_compute_endpoint.endpoint.config.utils import (
    load_config_yaml,
    render_config_user_template,
)
from globus_compute_endpoint.endpoint.identity_mapper import MappedPosixIdentity

from compute_functions.endpoint import Endpoint
from compute_functions.endpoint_files import TEMPLATES, Settings
from compute_functions.errors import ConfigurationError

LOCAL = TEMPLATES / "local"
ALLOWED = (str(uuid4()), str(uuid4()))


def settings(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "templates": LOCAL,
        "site_dir": folder / "site",
        "allowed_functions": ALLOWED,
        "display_name": 'A "local" site: #1',
        "heartbeat_period": 5.0,
        "email": "operator@example.org",
    }
    return Settings(**(values | changes))


def configured(folder: Path, **environment: str) -> Endpoint:
    endpoint = Endpoint(name="site", user_dir=folder / "compute", environment=environment)
    endpoint.configure(settings(folder))
    return endpoint


def rendered(endpoint: Endpoint, user_opts: dict[str, Any]) -> str:
    """Render the user endpoint's configuration as the agent does when a task arrives."""
    core = load_config_yaml((endpoint.folder / "config.yaml").read_text())
    assert isinstance(core, CoreEndpointConfig)
    template = endpoint.folder / "user_config_template.yaml.j2"
    text: str = render_config_user_template(
        core,
        template.read_text(),
        template,
        MappedPosixIdentity(pwd.getpwuid(os.getuid()), [], str(uuid4())),
        json.loads((endpoint.folder / "user_config_schema.json").read_text()),
        user_opts,
    )
    return text


def test_the_core_configuration_allows_our_functions_alone(tmp_path: Path) -> None:
    endpoint = configured(tmp_path)

    core = load_config_yaml((endpoint.folder / "config.yaml").read_text())

    assert isinstance(core, CoreEndpointConfig)
    assert core.allowed_functions == ALLOWED
    assert core.display_name == 'A "local" site: #1'
    assert core.heartbeat_period == 5
    assert core.email == "operator@example.org"


def test_the_user_endpoint_runs_a_bounded_number_of_threads_for_ever(tmp_path: Path) -> None:
    text = rendered(configured(tmp_path), {})

    user = load_config_yaml(text)
    try:
        assert isinstance(user, UserEndpointConfig)
        assert type(user.engine).__name__ == "ThreadPoolEngine"
        assert user.engine.executor._max_workers == 32  # noqa: SLF001 # the engine has no getter
        assert user.idle_heartbeats_soft == 0
        assert user.heartbeat_period == 5
    finally:
        user.engine.shutdown()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    engine = yaml.safe_load(rendered(configured(tmp_path), {}))["engine"]

    assert engine["allowed_serializers"] == [
        "globus_compute_sdk.serialize.PureSourceTextInspect",
        "globus_compute_sdk.serialize.JSONData",
    ]


@pytest.mark.parametrize("option", ["worker_init", "endpoint_setup", "max_workers", "anything"])
def test_a_submission_can_choose_nothing(tmp_path: Path, option: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        rendered(configured(tmp_path), {option: "x"})


def test_the_user_endpoint_gets_places_and_proxies_and_no_credentials(tmp_path: Path) -> None:
    endpoint = configured(
        tmp_path,
        https_proxy="http://proxy.example.org:3128",
        GLOBUS_COMPUTE_CLIENT_SECRET="a secret",
        OTHER="x",
    )

    text = (endpoint.folder / "user_environment.yaml").read_text()
    variables = yaml.safe_load(text)
    assert variables["HOTNODE_SITE_DIR"] == str(tmp_path / "site")
    assert variables["GLOBUS_COMPUTE_USER_DIR"] == str(tmp_path / "compute")
    assert variables["https_proxy"] == "http://proxy.example.org:3128"
    assert variables["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert variables["GLOBUS_COMPUTE_CLIENT_SECRET"] == ""
    assert "a secret" not in text
    assert "OTHER" not in variables


def test_only_the_owner_reads_the_files(tmp_path: Path) -> None:
    endpoint = configured(tmp_path)

    assert endpoint.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in endpoint.folder.iterdir()} == {0o600}


def test_configuring_again_replaces_the_files_and_keeps_the_id(tmp_path: Path) -> None:
    endpoint = configured(tmp_path)
    (endpoint.folder / "endpoint.json").write_text('{"endpoint_id": "the-id"}')

    endpoint.configure(settings(tmp_path, allowed_functions=ALLOWED[:1]))

    assert endpoint.status().id == "the-id"
    core = load_config_yaml((endpoint.folder / "config.yaml").read_text())
    assert core.allowed_functions == ALLOWED[:1]


def test_a_template_that_asks_for_too_much_is_named(tmp_path: Path) -> None:
    for file in LOCAL.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "config.yaml.j2").write_text("a: {{ nobody_knows }}\n")
    endpoint = Endpoint(name="site", user_dir=tmp_path / "compute", environment={})

    with pytest.raises(ConfigurationError, match=r"config\.yaml\.j2: 'nobody_knows' is undefined"):
        endpoint.configure(settings(tmp_path, templates=tmp_path))
    assert not endpoint.folder.exists()


async def test_an_endpoint_without_files_is_not_started(tmp_path: Path) -> None:
    endpoint = Endpoint(name="site", user_dir=tmp_path, environment={})

    with pytest.raises(ConfigurationError, match="is not configured"):
        await endpoint.start()
    assert not (await endpoint.stop()).running
