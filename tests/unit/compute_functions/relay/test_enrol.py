"""The command that enrols a site."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from compute_functions import enrol

HUB = "https://gateway.example.org"


def run(folder: Path, *arguments: str, cluster: str = "sophia") -> int:
    return enrol.main(["--site-dir", str(folder), "--cluster", cluster, *arguments])


def test_it_makes_a_key_writes_the_hubs_and_prints_the_gateway_s_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--hub", HUB, "--hub", "wss://other.example.org:8443/a/path") == 0

    printed = yaml.safe_load(capsys.readouterr().out)
    key = load_pem_private_key((tmp_path / "relay/site.key").read_bytes(), None)
    assert base64.b64decode(printed["relay"]["public_key"]) == key.public_key().public_bytes_raw()
    assert json.loads((tmp_path / "relay/relay.json").read_text()) == {
        "cluster": "sophia",
        "hubs": [
            "wss://gateway.example.org/relay/v1/connect",
            "wss://other.example.org:8443/a/path",
        ],
    }
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "relay").iterdir()}
    assert modes == {"site.key": 0o600, "relay.json": 0o600}
    assert (tmp_path / "relay").stat().st_mode & 0o777 == 0o700


def test_a_second_run_keeps_the_key_unless_a_new_one_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for further in ([], [], ["--new-key"]):
        assert run(tmp_path, "--hub", HUB, *further) == 0
        printed.append(capsys.readouterr().out)

    assert printed[0] == printed[1] != printed[2]


def test_a_file_of_authorities_is_named_by_its_whole_path(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("authorities")

    assert run(tmp_path, "--hub", HUB, "--ca", str(tmp_path / "ca.pem")) == 0
    written = json.loads((tmp_path / "relay/relay.json").read_text())
    assert written["ca_file"] == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("hub", ["ws://127.0.0.1:9000", "http://127.0.0.1:9000"])
def test_what_is_not_encrypted_needs_a_word(
    tmp_path: Path, hub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--hub", hub) == 1
    assert "--insecure" in capsys.readouterr().err
    assert not (tmp_path / "relay").exists()

    assert run(tmp_path, "--hub", hub, "--insecure") == 0
    written = json.loads((tmp_path / "relay/relay.json").read_text())
    assert written["hubs"] == ["ws://127.0.0.1:9000/relay/v1/connect"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hub", "ftp://x"],
        ["--hub", "gateway.example.org"],
        ["--hub", "https://user:password@gateway.example.org"],
        ["--hub", HUB, "--ca", "nowhere.pem"],
        ["--hub", HUB, "--cluster", "../up"],
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *arguments) == 1
    assert "ConfigurationError" in capsys.readouterr().err
    assert not (tmp_path / "relay").exists()


def test_what_is_no_key_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--hub", HUB) == 0
    (tmp_path / "relay/site.key").write_text("something else")

    assert run(tmp_path, "--hub", HUB) == 1
    assert "--new-key" in capsys.readouterr().err
    assert (tmp_path / "relay/site.key").read_text() == "something else"
    assert run(tmp_path, "--hub", HUB, "--new-key") == 0
