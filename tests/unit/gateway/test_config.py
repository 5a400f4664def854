from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from resource_server.__main__ import main, render_settings
from resource_server.config import Settings, read_client

ROOT = Path(__file__).parents[3]


@pytest.fixture
def values(tmp_path: Path) -> dict[str, object]:
    return {
        "state_dir": tmp_path,
        "secret_key": "k" * 32,
        "globus_client_file": tmp_path / "client.json",
        "globus_clients_dir": tmp_path,
    }


def test_the_page_of_settings_is_up_to_date():
    page = ROOT / "docs" / "operators" / "settings.md"
    assert page.read_text() == render_settings(), (
        "run: ./hotnode settings > docs/operators/settings.md"
    )


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


@pytest.mark.parametrize("content", ["", "[]", '{"client_id": "x"}'])
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


def test_serve_without_settings_says_which_are_missing(capsys, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HOTNODE_{name.upper()}", raising=False)
    assert main(["serve"]) == 2
    said = capsys.readouterr().err
    assert "HOTNODE_STATE_DIR" in said
    assert "Traceback" not in said
