from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from resource_server.__main__ import main
from resource_server.config import Settings, read_client
from resource_server.container.tokens import service_rule
from resource_server.domain.catalog import AccessRule, Counting, LoginPolicy

ROOT = Path(__file__).parents[3]


@pytest.fixture
def values(tmp_path: Path) -> dict[str, object]:
    return {
        "state_dir": tmp_path,
        "secret_key": "k" * 32,
        "globus_client_file": tmp_path / "client.json",
        "globus_clients_dir": tmp_path,
    }


def test_every_setting_is_explained():
    assert all(field.description for field in Settings.model_fields.values())


def test_no_secret_has_a_default():
    secret = {name for name in Settings.model_fields if "secret" in name or "client_file" in name}
    assert secret == {"secret_key", "secret_key_file", "globus_client_file"}
    with pytest.raises(ValidationError, match="globus_client_file"):
        Settings(state_dir=".", secret_key="k" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"secret_key": None},
        {"secret_key": "short"},
        {"secret_key_file": "also"},
        {"token_cache_s": 601},
        {"port": 65536},
        {"log_format": "xml"},
        {"unknown": 1},
        {"globus_policies": ","},
        {"metrics_token": "short"},
        {"metrics_token": "t" * 16, "metrics_token_file": "also"},
        {"metrics_token_file": "absent"},
        {"otlp_endpoint": "collector:4318"},
        {"otlp_headers_file": "absent"},
        {"otlp_sample_ratio": 1.1},
        {"globus_policies": "weekly"},
        {"globus_policies": "90110000-0000-4000-8000-000000000001=soon"},
        {"globus_policies": "90110000-0000-4000-8000-000000000001="},
        {"globus_policies": "90110000-0000-4000-8000-000000000001=0"},
        {"globus_groups": "staff"},
        {"globus_groups_by_domain": {"anl.gov": ["staff"]}},
        {"globus_service_accounts": "robot"},
        {"globus_domains_of": "linked"},
        {"login_max_age_s": 0},
    ],
)
def test_what_is_wrong_is_refused(values, change):
    with pytest.raises(ValidationError):
        Settings(**(values | change))


def test_a_secret_may_stand_in_a_file(values, tmp_path):
    file = tmp_path / "key"
    file.write_text("f" * 40 + "\n")
    settings = Settings(**(values | {"secret_key": None, "secret_key_file": file}))
    assert settings.read_secret_key() == "f" * 40


def test_a_secret_does_not_show_itself(values):
    assert "kkkk" not in repr(Settings(**values))


def test_lists_are_separated_by_commas(values, monkeypatch):
    monkeypatch.setenv("HOTNODE_GLOBUS_DOMAINS", "a.org, b.org")
    assert Settings(**values).globus_domains == ("a.org", "b.org")


@pytest.mark.row("C-18")
def test_the_service_s_rule_is_made_of_settings(values, monkeypatch):
    group, policy = (f"9{n}000000-0000-4000-8000-000000000001" for n in (4, 5))
    for name, value in {
        "GLOBUS_DOMAINS": "ANL.gov,b.org",
        "GLOBUS_DOMAINS_OF": "account",
        "GLOBUS_GROUPS": group.upper(),
        "GLOBUS_GROUPS_BY_DOMAIN": json.dumps({"ANL.gov": [group], "*": []}),
        "GLOBUS_POLICIES": f"{policy}=604800,{group}",
        "GLOBUS_SERVICE_ACCOUNTS": policy,
        "LOGIN_MAX_AGE_S": "86400",
    }.items():
        monkeypatch.setenv(f"HOTNODE_{name}", value)
    assert service_rule(Settings(**values)) == AccessRule(
        domains=frozenset({"anl.gov", "b.org"}),
        domains_of=Counting.ACCOUNT,
        groups=frozenset({group}),
        groups_by_domain={"anl.gov": frozenset({group}), "*": frozenset()},
        policies=(LoginPolicy(id=policy, max_age_s=604_800), LoginPolicy(id=group)),
        service_accounts=frozenset({policy}),
        login_max_age_s=86_400,
    )


def test_without_settings_everybody_with_a_login_may_come_in(values):
    assert service_rule(Settings(**values)).is_open


@pytest.mark.parametrize(
    "content", ["", "[]", '{"client_id": "x"}', '{"client_id": "x", "client_secret": ""}']
)
def test_a_file_that_holds_no_client_is_named(tmp_path, content):
    file = tmp_path / "client.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"client\.json"):
        read_client(file)


def test_a_client_s_secret_does_not_show_itself(tmp_path):
    file = tmp_path / "client.json"
    file.write_text(json.dumps({"client_id": "x", "client_secret": "hush"}))
    client = read_client(file)
    assert client.client_secret.get_secret_value() == "hush"
    assert "hush" not in repr(client)


def test_the_command_says_what_is_wrong_with_a_catalog(tmp_path, capsys):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.yaml").write_text("cluster: A\n")
    assert main(["check-catalog", str(tmp_path)]) == 2
    assert "sites/a.yaml:1: cluster" in capsys.readouterr().err


def test_the_catalog_that_is_checked_is_the_one_that_is_served(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOTNODE_CATALOG_DIR", str(tmp_path / "ours"))
    assert main(["check-catalog"]) == 2
    assert f"{tmp_path}/ours/sites:1: there is no such folder" in capsys.readouterr().err


def test_a_catalog_without_clusters_says_how_to_begin(capsys, monkeypatch):
    monkeypatch.delenv("HOTNODE_CATALOG_DIR", raising=False)
    monkeypatch.chdir(ROOT)
    assert main(["check-catalog"]) == 2
    assert capsys.readouterr().err == (
        "endpoint_configs/sites:1: no cluster is described here. "
        "docs/operators/add-a-cluster.md says how to add one.\n"
    )


def test_serve_without_settings_says_which_are_missing(capsys, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HOTNODE_{name.upper()}", raising=False)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "HOTNODE_STATE_DIR: is missing",
        "HOTNODE_GLOBUS_CLIENT_FILE: is missing",
        "HOTNODE_GLOBUS_CLIENTS_DIR: is missing",
        "HOTNODE_SECRET_KEY or HOTNODE_SECRET_KEY_FILE: is missing",
        "docs/operators/settings.md explains all settings; ./hotnode settings prints it.",
    ]


def test_a_wrong_value_is_explained_in_our_words(capsys, monkeypatch):
    monkeypatch.setenv("HOTNODE_SECRET_KEY", "k" * 40)
    monkeypatch.setenv("HOTNODE_PORT", "many")
    assert main(["migrate"]) == 2
    said = capsys.readouterr().err
    assert "HOTNODE_PORT: must be a whole number" in said
    assert "SECRET_KEY" not in said


@pytest.mark.parametrize(("option", "wrong"), [("--port", "99999"), ("--workers", "0")])
def test_a_wrong_option_is_called_by_its_name(capsys, monkeypatch, option, wrong):
    monkeypatch.setenv("HOTNODE_SECRET_KEY", "k" * 40)
    assert main(["serve", option, wrong]) == 2
    said = capsys.readouterr().err
    assert f"{option}: must be " in said
    assert f"HOTNODE_{option.removeprefix('--').upper()}" not in said


def test_a_collector_s_headers_are_read_and_do_not_show_themselves(values, tmp_path):
    file = tmp_path / "headers.json"
    file.write_text('{"Authorization": "Bearer hush"}')
    settings = Settings(**(values | {"otlp_headers_file": file}))
    assert settings.read_otlp_headers() == {"Authorization": "Bearer hush"}
    file.write_text('{"Authorization": ["hush"]}')
    with pytest.raises(ValidationError) as refused:
        Settings(**(values | {"otlp_headers_file": file}))
    assert "headers.json holds no headers" in str(refused.value)
    assert "hush" not in str(refused.value)
