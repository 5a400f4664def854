from __future__ import annotations

import pytest

from resource_server.config import SettingInvalid
from resource_server.startup import StandInRefused, refuse_stand_in, refuse_unknown_settings
from tests.conftest import gateway_settings


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
    [("HOTNODE_GLOBUS_POLICY", "HOTNODE_GLOBUS_POLICIES"), ("HOTNODE_XYZ", "no setting")],
)
def test_a_misspelt_setting_is_refused(name, hint):
    with pytest.raises(SettingInvalid, match=hint):
        refuse_unknown_settings({name: "x"})


def test_settings_of_the_helper_and_of_a_site_may_stand_beside_ours():
    refuse_unknown_settings(
        {"HOTNODE_AUTH_CLIENT_ID": "x", "HOTNODE_SITE_DIR": "x", "HOTNODE_PORT": "1", "PATH": ""}
    )
