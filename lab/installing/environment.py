"""An engine's environment: made in place, whole or not at all.

A virtual environment cannot be moved, so it is built in place; a stamp, written last, says that it
is whole and what it was made from. An environment without the right stamp is removed and rebuilt.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.installing import pip
from lab.installing.recipe import TORCH, Recipe

#: PyTorch's public index of CPU builds, for machines whose pip knows no other source. It is the
#: only index address in this repository. Its use could not be tried where this was written.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
STAMP = "hotnode.json"
#: Reading 2 GB of fresh libraries from a slow disk takes minutes (seconds).
PROOF_TIMEOUT_S = 600.0

Say = Callable[[str], None]


class InstallFailed(Exception):
    """The engine's environment could not be made."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with an engine in it, or the folder where it will be."""

    folder: Path
    recipe: Recipe

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where the environment's packages are."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def is_current(self) -> bool:
        """Whether the environment is whole and made by the present recipe."""
        stamp = self.folder / STAMP
        return stamp.exists() and json.loads(stamp.read_text()) == self.recipe.stamp()


def ensure(environment: Environment, say: Say) -> None:
    """Make `environment` current; cheap when it is, alone when several ask at once."""
    with _only_one(environment.folder):
        if environment.is_current():
            say(f"{environment.recipe.title} is installed in {environment.folder}")
            return
        shutil.rmtree(environment.folder, ignore_errors=True)
        build(environment, say)


def build(environment: Environment, say: Say) -> None:
    """Make the environment in its empty place, step by step, and stamp it."""
    recipe = environment.recipe
    steps: list[tuple[str, Callable[[], None]]] = [
        ("a Python environment", lambda: _make_venv(environment)),
        (f"{recipe.pins()} packages, {recipe.packages_size}", lambda: _lock(environment, say)),
        (f"{TORCH}, 0.8 GB on disk", lambda: _torch(environment, say)),
        (recipe.finishing, lambda: recipe.finish(environment.site_packages)),
        ("the first import", lambda: _prove(environment)),
    ]
    for number, (what, step) in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {what} ...")
        started = time.monotonic()
        step()
        say(f"      done in {time.monotonic() - started:.0f} s")
    (environment.folder / STAMP).write_text(json.dumps(recipe.stamp(), indent=2) + "\n")
    say(f"{recipe.title} is installed in {environment.folder}")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_venv(environment: Environment) -> None:
    _run([sys.executable, "-m", "venv", str(environment.folder)], timeout_s=120)


def _lock(environment: Environment, say: Say) -> None:
    recipe = environment.recipe
    progress = pip.Progress(say=say, expected=recipe.pins())
    lock = ["--require-hashes", "--requirement", str(recipe.lock)]
    pip.install(environment.python, lock, progress)


def _torch(environment: Environment, say: Say) -> None:
    """Install torch from where pip is told to look, else from PyTorch's own index."""
    try:
        pip.install(environment.python, [TORCH], pip.Progress(say=say, expected=1))
    except pip.PipFailed as first:
        say(f"      pip's configured sources did not give {TORCH}; trying {TORCH_INDEX}")
        index = ["--extra-index-url", TORCH_INDEX]
        try:
            pip.install(environment.python, [*index, TORCH], pip.Progress(say=say, expected=1))
        except pip.PipFailed as second:
            raise InstallFailed(
                f"{TORCH} cannot be had.\nFrom pip's configured sources: {first}\n"
                f"With {TORCH_INDEX}: {second}\n"
                "Tell pip where the wheel is, as with PIP_FIND_LINKS=/folder/with/wheels."
            ) from second


def _prove(environment: Environment) -> None:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PATH": "/usr/bin:/bin",
    }
    proof = [str(environment.python), "-c", environment.recipe.proof]
    _run(proof, timeout_s=PROOF_TIMEOUT_S, environment=offline)


def _run(
    command: list[str], *, timeout_s: float, environment: dict[str, str] | None = None
) -> None:
    try:
        subprocess.run(  # noqa: S603 # an argument list of our own, no shell
            command, env=environment, timeout=timeout_s, check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise InstallFailed(f"{' '.join(command[:3])} failed:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{' '.join(command[:3])} took over {timeout_s:.0f} s") from error
