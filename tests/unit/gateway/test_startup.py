from __future__ import annotations

import stat
from pathlib import Path

import pytest

from resource_server.__main__ import main
from resource_server.config import Role, SettingInvalid
from resource_server.startup import (
    StandInRefused,
    refuse_stand_in,
    refuse_unfit_role,
    refuse_unknown_settings,
)
from tests.conftest import STATE, gateway_settings


@pytest.mark.parametrize(
    "environ",
    [
        {"GLOBUS_SDK_ENVIRONMENT": "local"},
        {"GLOBUS_SDK_SERVICE_URL_AUTH": "http://localhost:5000/auth/"},
        {"GLOBUS_SDK_SERVICE_URL_GROUPS": "https://groups.example.org"},
        {"GLOBUS_SDK_SERVICE_URL_AUTH": "https://auth.globus.org.evil.example/"},
        {"GLOBUS_SDK_SERVICE_URL_AUTH": "http://auth.globus.org/"},
    ],
)
def test_a_stand_in_is_refused_unless_it_is_meant(tmp_path, environ):
    with pytest.raises(StandInRefused, match="--local-globus"):
        refuse_stand_in(gateway_settings(tmp_path), environ)
    refuse_stand_in(gateway_settings(tmp_path, local_globus=True), environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"GLOBUS_SDK_ENVIRONMENT": "production"},
        {"GLOBUS_SDK_SERVICE_URL_AUTH": "https://auth.globus.org/"},
    ],
)
def test_globus_itself_is_taken(tmp_path, environ):
    refuse_stand_in(gateway_settings(tmp_path), environ)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("HOTNODE_GLOBUS_POLICY", "; did you mean HOTNODE_GLOBUS_POLICIES?"),
        ("HOTNODE_CATALOG", "; did you mean HOTNODE_CATALOG_DIR?"),
        ("HOTNODE_XYZ", ""),
        # Nothing like it: a guess would lead astray.
        ("HOTNODE_DEBUG", ""),
        ("HOTNODE_API_KEY", ""),
    ],
)
def test_a_misspelt_setting_is_refused(name, hint):
    with pytest.raises(SettingInvalid) as refused:
        refuse_unknown_settings({name: "x"})
    assert str(refused.value) == f"{name} is no setting of the gateway{hint}"


def test_settings_of_the_helper_and_of_a_site_may_stand_beside_ours():
    refuse_unknown_settings(
        {"HOTNODE_AUTH_CLIENT_ID": "x", "HOTNODE_SITE_DIR": "x", "HOTNODE_PORT": "1", "PATH": ""}
    )


@pytest.mark.parametrize(
    ("role", "given", "named"),
    [
        (Role.WEB, {}, ["HOTNODE_DATABASE_URL", "HOTNODE_REDIS_URL"]),
        (Role.WEB, {"database_url": "postgresql://h/d"}, ["HOTNODE_REDIS_URL"]),
        (Role.CONTROLLER, {}, ["HOTNODE_DATABASE_URL"]),
        (Role.HUB, {"relay_port": 8100}, ["HOTNODE_DATABASE_URL"]),
    ],
)
def test_a_role_that_lacks_what_it_shares_is_refused(tmp_path, role, given, named):
    with pytest.raises(SettingInvalid) as caught:
        refuse_unfit_role(gateway_settings(tmp_path, **given), role)
    for name in ("HOTNODE_DATABASE_URL", "HOTNODE_REDIS_URL"):
        assert (name in str(caught.value)) is (name in named)


@pytest.mark.parametrize("role", [Role.ALL, Role.HUB])
def test_one_process_and_the_hub_share_nothing(tmp_path, role):
    refuse_unfit_role(gateway_settings(tmp_path), role)


def test_several_workers_without_their_stores_are_refused(tmp_path, capsys, monkeypatch):
    settings = gateway_settings(tmp_path)
    for name in ("state_dir", "globus_client_file", "globus_clients_dir", "catalog_dir"):
        monkeypatch.setenv(f"HOTNODE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("HOTNODE_SECRET_KEY", "k" * 40)
    assert main(["serve", "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert "HOTNODE_DATABASE_URL" in said
    assert "HOTNODE_REDIS_URL" in said
    assert not (tmp_path / "gateway.sqlite3").exists()


def test_the_database_s_file_is_nobody_else_s():
    file = Path(STATE.name) / "gateway.sqlite3"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
