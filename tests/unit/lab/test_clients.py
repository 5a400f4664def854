"""What the clients of the conformance tests are installed from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.clients import environment
from lab.clients.environment import NODE_SOURCES
from lab.installing import installation
from lab.installing.recipe import REQUIREMENTS


@pytest.mark.parametrize("name", ["clients", "clients-openai-1", "clients-openai-batch"])
def test_every_package_is_pinned_with_hashes_and_no_address(name: str) -> None:
    lock = (REQUIREMENTS / f"{name}.txt").read_text()
    packages = [line for line in lock.splitlines() if line[:1].isalnum()]
    assert packages
    assert all("==" in package and package.endswith("\\") for package in packages)
    assert "://" not in lock


def test_node_s_lock_has_checksums_and_no_address() -> None:
    lock = json.loads((NODE_SOURCES / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert all("resolved" not in package for package in packages)


def test_an_environment_counts_when_it_was_finished_by_the_present_lock(tmp_path: Path) -> None:
    clients = environment.python_clients(tmp_path)["clients"]
    assert not installation.is_current(clients)
    clients.folder.mkdir()
    (clients.folder / installation.STAMP).write_text('"another"')
    assert not installation.is_current(clients)
    (clients.folder / installation.STAMP).write_text(json.dumps(clients.stamp()))
    assert installation.is_current(clients)


def test_a_machine_without_node_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install nodejs npm" in environment.node_clients(tmp_path).missing()
