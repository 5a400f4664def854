"""An engine's environment, and the steps that make it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.installing import installation, pip
from lab.installing.installation import InstallFailed, Say
from lab.installing.recipe import TORCH, Recipe

#: PyTorch's public index of CPU builds, for machines whose pip knows no other source. It is the
#: only index address in this repository. Its use could not be tried where this was written.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
#: Reading 2 GB of fresh libraries from a slow disk takes minutes (seconds).
PROOF_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with an engine in it, or the folder where it will be."""

    folder: Path
    recipe: Recipe

    @property
    def title(self) -> str:
        """The engine's name and version."""
        return self.recipe.title

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where the environment's packages are."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def stamp(self) -> dict[str, str]:
        """Return what the environment is made from."""
        return self.recipe.stamp()

    def is_current(self) -> bool:
        """Whether the environment is whole and made by the present recipe."""
        return installation.is_current(self)

    def build(self, say: Say) -> None:
        """Make the environment in its empty place, step by step."""
        recipe = self.recipe
        packages = f"{recipe.pins()} packages, {recipe.packages_size}"
        steps: list[tuple[str, Callable[[], None]]] = [
            ("a Python environment", lambda: installation.make_venv(self.folder)),
            (packages, lambda: pip.install_locked(self.python, recipe.lock, say)),
            (f"{TORCH}, 0.8 GB on disk", lambda: _torch(self.python, say)),
            (recipe.finishing, lambda: recipe.finish(self.site_packages)),
            ("the first import", lambda: _prove(self.python, recipe.proof)),
        ]
        for number, (what, step) in enumerate(steps, start=1):
            say(f"[{number}/{len(steps)}] {what} ...")
            started = time.monotonic()
            step()
            say(f"      done in {time.monotonic() - started:.0f} s")


def _torch(python: Path, say: Say) -> None:
    """Install torch from where pip is told to look, else from PyTorch's own index."""
    try:
        pip.install(python, [TORCH], pip.Progress(say=say, expected=1))
    except pip.PipFailed as first:
        say(f"      pip's configured sources did not give {TORCH}; trying {TORCH_INDEX}")
        index = ["--extra-index-url", TORCH_INDEX]
        try:
            pip.install(python, [*index, TORCH], pip.Progress(say=say, expected=1))
        except pip.PipFailed as second:
            raise InstallFailed(
                f"{TORCH} cannot be had.\nFrom pip's configured sources: {first}\n"
                f"With {TORCH_INDEX}: {second}\n"
                "Tell pip where the wheel is, as with PIP_FIND_LINKS=/folder/with/wheels."
            ) from second


def _prove(python: Path, proof: str) -> None:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PATH": "/usr/bin:/bin",
    }
    installation.run([str(python), "-c", proof], timeout_s=PROOF_TIMEOUT_S, environment=offline)
