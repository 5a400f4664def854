from __future__ import annotations

import pytest

from resource_server.startup import StandInRefused, refuse_stand_in
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
