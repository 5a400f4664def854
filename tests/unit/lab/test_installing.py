"""The installers of engines: preconditions, locks, repairs, and when they do nothing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.infinity import install as install_infinity
from lab.infinity import recipe as infinity_recipe
from lab.infinity import weights
from lab.installing import installation, pip, preconditions
from lab.installing.environment import Environment
from lab.installing.recipe import Recipe
from lab.vllm_cpu import install as install_vllm
from lab.vllm_cpu import recipe as vllm_recipe
from lab.vllm_cpu import repairs

INFINITY, VLLM = infinity_recipe.RECIPE, vllm_recipe.RECIPE
every_engine = pytest.mark.parametrize("recipe", [INFINITY, VLLM], ids=lambda recipe: recipe.title)

FIT = preconditions.Machine(
    architecture="x86_64",
    cpu_flags=frozenset({"sse2", "avx2"}),
    glibc=(2, 28),
    python=(3, 11),
    free_gb=10.0,
)


def test_a_fit_machine_has_no_problems() -> None:
    assert preconditions.problems(FIT, disk_gb=5) == []


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        ({"architecture": "aarch64"}, "This is aarch64", "Use such a machine"),
        ({"cpu_flags": frozenset({"sse2"})}, "no AVX2", "Use a machine from"),
        ({"glibc": (2, 17)}, "here is 2.17", "Use Debian 10"),
        ({"glibc": ()}, "here is none", "Use Debian 10"),
        ({"python": (3, 9)}, "here is 3.9", "Start this with such a Python"),
        ({"free_gb": 1.5}, "here are 1.5 GB", "Make room"),
    ],
)
def test_what_is_missing_is_said_with_its_remedy(
    change: dict[str, Any], says: str, remedy: str
) -> None:
    (problem,) = preconditions.problems(dataclasses.replace(FIT, **change), disk_gb=5)

    assert says in problem
    assert remedy in problem


def test_an_installed_engine_needs_no_more_disk() -> None:
    assert preconditions.problems(dataclasses.replace(FIT, free_gb=0.1), disk_gb=0) == []


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    here = preconditions.Machine.here(tmp_path / "not" / "there" / "yet")

    assert here.python == sys.version_info[:2]
    assert here.free_gb > 0
    assert here.architecture


@every_engine
def test_every_package_is_pinned_with_hashes_and_no_source_is_named(recipe: Recipe) -> None:
    text = recipe.lock.read_text()
    packages = text.replace("\\\n", " ").strip().splitlines()

    assert all("==" in line and "--hash=sha256:" in line for line in packages)
    assert not any(line.startswith("torch==") for line in packages)
    assert "://" not in text
    assert "index" not in {word for line in packages for word in line.split()}
    assert recipe.pins() == len(packages)


@every_engine
def test_the_lock_has_what_its_source_asks_for(recipe: Recipe) -> None:
    wanted = recipe.lock.with_suffix(".in").read_text().splitlines()
    asked = [line for line in wanted if line and not line.startswith(("#", "torch=="))]

    lock = "\n" + recipe.lock.read_text()
    assert asked
    for line in asked:
        name, _, version = re.sub(r"\[.*\]", "", line).partition("==")
        assert f"\n{name}=={version}" in lock


def test_the_titles_name_the_versions_of_the_locks() -> None:
    assert f"\nvllm-cpu=={vllm_recipe.VLLM} " in VLLM.lock.read_text()
    assert f"\ninfinity-emb=={infinity_recipe.INFINITY} " in INFINITY.lock.read_text()
    assert vllm_recipe.VLLM in VLLM.title
    assert infinity_recipe.INFINITY in INFINITY.title


@every_engine
def test_an_environment_without_the_stamp_is_not_current(tmp_path: Path, recipe: Recipe) -> None:
    target = Environment(tmp_path, recipe)
    assert not target.is_current()

    (tmp_path / installation.STAMP).write_text(json.dumps(recipe.stamp()))
    assert target.is_current()

    older = recipe.stamp() | {"torch": "torch==2.0.0+cpu"}
    (tmp_path / installation.STAMP).write_text(json.dumps(older))
    assert not target.is_current()


def test_one_engine_s_environment_is_not_another_s(tmp_path: Path) -> None:
    (tmp_path / installation.STAMP).write_text(json.dumps(INFINITY.stamp()))

    assert Environment(tmp_path, INFINITY).is_current()
    assert not Environment(tmp_path, VLLM).is_current()


@pytest.mark.parametrize(
    ("install", "recipe"), [(install_infinity.main, INFINITY), (install_vllm.main, VLLM)]
)
def test_what_is_installed_is_left_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    install: Callable[[list[str]], int],
    recipe: Recipe,
) -> None:
    target = tmp_path / "engine"
    target.mkdir()
    (target / installation.STAMP).write_text(json.dumps(recipe.stamp()))
    before = sorted(target.iterdir())

    assert install(["--target", str(target)]) == 0
    assert "is installed in" in capsys.readouterr().out
    assert sorted(target.iterdir()) == before


def test_progress_counts_packages_and_keeps_the_last_lines() -> None:
    said: list[str] = []
    progress = pip.Progress(say=said.append, expected=60, every=30)

    for number in range(60):
        progress.line(f"{'Collecting' if number % 2 else 'Processing'} package-{number}==1")
    progress.line("Installing collected packages: many")

    assert [line.strip() for line in said] == [
        "30 of 60 packages fetched",
        "60 of 60 packages fetched",
        "unpacking 60 packages",
    ]
    assert len(progress.tail) == pip.KEPT_LINES
    assert progress.tail[-1].startswith("Installing")


def test_pip_s_failure_is_an_error_with_its_last_lines() -> None:
    progress = pip.Progress(say=print, expected=1)

    with pytest.raises(pip.PipFailed, match="no-such-package"):
        pip.install(Path(sys.executable), ["--no-index", "no-such-package==1"], progress)


def test_the_weights_that_come_with_infinity_have_a_name_without_a_version(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / weights.PACKAGE / "model").mkdir(parents=True)
    (packages / weights.PACKAGE / "model" / "config.json").write_text("{}")

    weights.link(packages)

    found = tmp_path / "models" / weights.MODEL
    assert (found / "config.json").read_text() == "{}"
    assert not found.readlink().is_absolute()


def test_the_wheel_finds_itself_under_the_name_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairs.name_distribution(tmp_path, "0.0.1")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert importlib.metadata.version("vllm") == "0.0.1+cpu"


@pytest.mark.parametrize(("cuda", "declared"), [("None", ["nms", "qnms"]), ("'13.0'", [])])
def test_torchvision_finds_its_operators_beside_a_cpu_torch(
    tmp_path: Path, cuda: str, declared: list[str]
) -> None:
    """Run Python with such a `.pth`, a torch that notes what is declared, and a torchvision."""
    repairs.declare_torchvision_operators(tmp_path)
    (tmp_path / "torch.py").write_text(
        "from types import SimpleNamespace\n"
        "declared = []\n"
        f"version = SimpleNamespace(cuda={cuda})\n"
        "library = SimpleNamespace(define=lambda name, _: declared.append(name))\n"
    )
    (tmp_path / "torchvision.py").write_text("import torch\nprint(*torch.declared)\n")
    # `site.addsitedir` reads the `.pth` files of a folder, twice here as in a virtual environment.
    program = f"import site; [site.addsitedir({str(tmp_path)!r}) for _ in '12']; import torchvision"

    run = subprocess.run(  # noqa: S603 # this very Python
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert run.stdout.split() == [f"torchvision::{name}" for name in declared]


@dataclasses.dataclass(slots=True)
class NotesItsBuilds:
    """An installation that writes one file, or fails after that."""

    folder: Path
    made_from: str = "first"
    fails: bool = False
    built: int = 0
    title: str = "a file"

    def stamp(self) -> str:
        return self.made_from

    def build(self, say: Callable[[str], None]) -> None:
        self.folder.mkdir()
        (self.folder / self.made_from).touch()
        self.built += 1
        if self.fails:
            raise installation.InstallFailed("in the middle")


def test_an_installation_is_made_once_until_what_it_is_made_from_changes(tmp_path: Path) -> None:
    wanted = NotesItsBuilds(tmp_path / "below" / "here")
    for _ in range(2):
        installation.ensure(wanted, print)
    assert wanted.built == 1

    wanted.made_from = "second"
    installation.ensure(wanted, print)

    assert wanted.built == 2
    assert {path.name for path in wanted.folder.iterdir()} == {"second", installation.STAMP}


def test_an_installation_that_failed_is_not_current_and_is_made_anew(tmp_path: Path) -> None:
    wanted = NotesItsBuilds(tmp_path / "here", fails=True)
    with pytest.raises(installation.InstallFailed):
        installation.ensure(wanted, print)
    assert not installation.is_current(wanted)

    wanted.fails = False
    installation.ensure(wanted, print)

    assert installation.is_current(wanted)


def test_a_step_that_fails_or_hangs_is_an_error() -> None:
    with pytest.raises(installation.InstallFailed, match="the reason"):
        installation.run([sys.executable, "-c", "import sys; sys.exit('the reason')"])
    with pytest.raises(installation.InstallFailed, match="took over"):
        installation.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.01)
