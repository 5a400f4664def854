"""What is installed at a centre and on a cluster: the wheel alone, without the checkout."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from compute_functions.function_lock import FunctionLock
from compute_functions.stubs import STUBS

ROOT = Path(__file__).parents[2]
#: What the wheel is made from; everything else of the checkout is away.
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
NOISE = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build")
TIMEOUT_S = 100.0


async def _run(*command: str | Path, cwd: Path, environ: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_S):
        said, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    return said.decode()


async def _wheel(folder: Path) -> Path:
    """Build the wheel from a copy: the build leaves folders behind."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, source / name)
    packages = (
        "auth_helper",
        "batch",
        "compute_functions",
        "endpoint_configs",
        "lab",
        "local_globus",
    )
    for name in (*packages, "resource_server"):
        shutil.copytree(ROOT / name, source / name, ignore=NOISE)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    environ = dict(os.environ)
    await _run(*pip, *offline, "--wheel-dir", folder, source, cwd=folder, environ=environ)
    return _only_wheel(folder)


def _only_wheel(folder: Path) -> Path:
    (wheel,) = folder.glob("hotnode-*.whl")
    return wheel


def _operators_files() -> set[str]:
    """Return the engine files and templates, as they are named in the wheel."""
    engines = (ROOT / "endpoint_configs" / "engines").iterdir()
    templates = (ROOT / "endpoint_configs" / "templates").rglob("*.*")
    return {str(path.relative_to(ROOT)) for path in (*engines, *templates)}


@pytest.fixture
async def wheel(tmp_path: Path) -> Path:
    return await _wheel(tmp_path)


async def test_a_cluster_is_configured_from_the_installed_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert _operators_files() <= names
    strangers = ("lab/", "local_globus/", "endpoint_configs/models/", "endpoint_configs/tiny")
    assert [name for name in names if name.startswith(strangers)] == []

    installed, site = tmp_path / "installed", tmp_path / "site"
    site.mkdir()
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    await _run(
        *(*pip, "--no-deps", "--no-index", "--target", installed, wheel),
        cwd=site,
        environ=dict(os.environ),
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(site), "PYTHONPATH": str(installed)}
    where = "import batch, compute_functions, resource_server; print(batch.__file__)"
    assert str(installed) in await _run(sys.executable, "-c", where, cwd=site, environ=environ)

    lock = FunctionLock()
    for number, stub in enumerate(STUBS):
        lock = lock.having(stub, f"00000000-0000-4000-8000-{number:012}")
    lock.write(site / "functions.lock.json")
    said = await _run(
        *(sys.executable, "-m", "compute_functions.endpoint", "configure", "--name", "sophia"),
        *("--user-dir", "compute", "--site-dir", "instances", "--email", "staff@example.org"),
        *("--lock", "functions.lock.json"),
        cwd=site,
        environ=environ,
    )

    assert json.loads(said) == {"name": "sophia", "id": "", "running": False}
    config = yaml.safe_load((site / "compute" / "sophia" / "config.yaml").read_text())
    assert config["allowed_functions"] == lock.allowed(STUBS)
    assert (site / "compute" / "sophia" / "user_config_template.yaml.j2").exists()
