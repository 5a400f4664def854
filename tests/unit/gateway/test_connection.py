from __future__ import annotations

import pytest
from pydantic import ValidationError

from resource_server.config import Role, SettingInvalid
from resource_server.store.connection import connection_settings
from tests.conftest import gateway_settings

URL = "postgresql://hotnode:hush%40@db.example.org:5433/gateway"


def test_without_an_address_it_is_sqlite(tmp_path):
    found = connection_settings(gateway_settings(tmp_path), Role.ALL)
    assert found["NAME"] == tmp_path / "gateway.sqlite3"


def test_what_the_address_says_reaches_the_client(tmp_path):
    url = f"{URL}?sslmode=verify-full&sslrootcert=/etc/ca.pem&options=-c%20work_mem%3D4MB"
    found = connection_settings(gateway_settings(tmp_path, database_url=url), Role.HUB)
    options = found["OPTIONS"]
    assert found["NAME"] == "gateway"
    assert (options["host"], options["port"]) == ("db.example.org", "5433")
    assert (options["user"], options["password"]) == ("hotnode", "hush@")
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", "/etc/ca.pem")
    assert options["application_name"] == "hotnode-hub"
    assert "statement_timeout=9000" in options["options"]
    assert "work_mem=4MB" in options["options"]


def test_a_server_that_is_gone_is_given_up_within_seconds_unless_the_address_says_otherwise(
    tmp_path,
):
    url = f"{URL}?tcp_user_timeout=60000&keepalives_count=7"
    found = connection_settings(gateway_settings(tmp_path, database_url=url), Role.WEB)["OPTIONS"]
    assert (found["tcp_user_timeout"], found["keepalives_count"]) == ("60000", "7")
    assert (found["keepalives_idle"], found["keepalives_interval"]) == ("10", "5")
    usual = connection_settings(gateway_settings(tmp_path, database_url=URL), Role.WEB)["OPTIONS"]
    assert (usual["tcp_user_timeout"], usual["keepalives_count"]) == ("10000", "3")


def test_the_address_may_stand_in_a_file(tmp_path):
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    settings = gateway_settings(tmp_path, database_url_file=file, redis_url="redis://h/0")
    assert settings.read_database_url() == URL
    assert "hush" not in repr(settings)


@pytest.mark.parametrize("url", ["postgresql://host", "postgresql://h/d?hush=1"])
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(tmp_path, url):
    with pytest.raises(SettingInvalid, match="HOTNODE_DATABASE_URL") as caught:
        connection_settings(gateway_settings(tmp_path, database_url=url), Role.ALL)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"database_url": "mysql://hush@h/d"},
        {"redis_url": "http://hush@h"},
        {"database_url": URL, "database_url_file": "x"},
        {"redis_url": "redis://h", "redis_url_file": "x"},
    ],
)
def test_another_kind_of_address_is_refused(tmp_path, given):
    with pytest.raises(ValidationError, match="HOTNODE_"):
        gateway_settings(tmp_path, **given)
