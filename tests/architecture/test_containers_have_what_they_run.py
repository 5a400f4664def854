"""Images hold every package that is installed, and containers reach what their roles need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
IMAGES = sorted(path.name for path in DOCKER.glob("*.Dockerfile"))
ROLES = ("web", "hub", "controller")


def installed() -> list[Path]:
    """Return the folders whose packages a centre or a cluster installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = project["tool"]["setuptools"]["packages"]["find"]["include"]
    return [Path(*name.rstrip("*").split(".")) for name in names]


def copied(image: str) -> list[Path]:
    """Return what a Dockerfile takes from this repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / image).read_text(), re.MULTILINE)
    return [Path(source) for line in lines for source in line.split()[:-1]]


def services() -> dict[str, dict[str, Any]]:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_every_installed_package_is_copied(image: str) -> None:
    taken = copied(image)
    missing = [
        folder
        for folder in installed()
        if not any(folder == source or source in folder.parents for source in taken)
    ]
    assert taken
    assert not missing


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_there_and_let_into_the_build(image: str) -> None:
    ignored = (DOCKER / f"{image}.dockerignore").read_text().splitlines()
    let_in = [Path(line[1:]) for line in ignored if line.startswith("!")]
    for source in copied(image):
        assert (ROOT / source).exists()
        assert any(source == entry or entry in source.parents for entry in let_in), source


@pytest.mark.parametrize("role", ROLES)
def test_every_role_reaches_the_hubs_socket(role: str) -> None:
    service = services()[role]
    assert ["serve", "--role", role] == service["command"][:3]
    folder = str(Path(service["environment"]["HOTNODE_HUB_SOCKET"]).parent)
    assert f"hub:{folder}" in service["volumes"]


def test_no_role_is_left_out() -> None:
    served = {
        service["command"][2]
        for service in services().values()
        if service.get("command", [])[:2] == ["serve", "--role"]
    }
    assert served == set(ROLES)
