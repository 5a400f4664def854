"""Environments of clients: made in place, whole or not at all, each from a lock of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.installing import pip

ROOT = Path(__file__).parents[2]
NODE_SOURCES = ROOT / "tests" / "conformance" / "node"
STAMP = "hotnode.json"
#: Making an empty environment, and fetching the few megabytes of the Node client (seconds).
TIMEOUT_S = 300.0

Say = Callable[[str], None]


class InstallFailed(Exception):
    """A client's environment could not be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonClients:
    """Clients for Python, in a virtual environment."""

    folder: Path
    lock: Path

    @property
    def program(self) -> Path:
        """What runs a client's script."""
        return self.folder / "bin" / "python"

    def recipe(self) -> str:
        """Return what the environment is made from, in short."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return _digest(self.lock, salt=version)

    def build(self, say: Say) -> None:
        """Make the environment in its empty place."""
        _run([sys.executable, "-m", "venv", str(self.folder)])
        pins = sum("==" in line for line in self.lock.read_text().splitlines())
        progress = pip.Progress(say=say, expected=pins)
        pip.install(self.program, ["--require-hashes", "--requirement", str(self.lock)], progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClients:
    """Clients for Node: `node` and `npm` must be there."""

    folder: Path

    @property
    def program(self) -> Path:
        """What runs a client's script."""
        return Path(shutil.which("node") or "node")

    @staticmethod
    def missing() -> str:
        """Say what the machine lacks; nothing if it lacks nothing."""
        absent = [name for name in ("node", "npm") if shutil.which(name) is None]
        if not absent:
            return ""
        return f"{' and '.join(absent)} not found. On Debian: apt-get install nodejs npm"

    def recipe(self) -> str:
        """Return what the environment is made from, in short."""
        return _digest(NODE_SOURCES / "package.json", NODE_SOURCES / "package-lock.json")

    def build(self, say: Say) -> None:
        """Make the environment in its empty place."""
        self.folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE_SOURCES / name, self.folder)
        quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")
        _run(["npm", "ci", *quiet], folder=self.folder)


Clients = PythonClients | NodeClients


def python_clients(folder: Path) -> dict[str, PythonClients]:
    """Return the environments for Python below a folder, by the name of each one's lock."""
    return {
        name: PythonClients(folder=folder / name, lock=ROOT / "requirements" / f"{name}.txt")
        for name in ("clients", "clients-openai-1")
    }


def node_clients(folder: Path) -> NodeClients:
    """Return the environment for Node below a folder."""
    return NodeClients(folder=folder / "node")


def is_current(clients: Clients) -> bool:
    """Tell whether an environment is whole and made by the present recipe."""
    stamp = clients.folder / STAMP
    return stamp.exists() and json.loads(stamp.read_text()) == clients.recipe()


def ensure(clients: Clients, say: Say) -> None:
    """Make an environment current; cheap when it is, alone when several ask at once."""
    with _only_one(clients.folder):
        if not is_current(clients):
            say(f"installing clients in {clients.folder} ...")
            shutil.rmtree(clients.folder, ignore_errors=True)
            clients.build(say)
            (clients.folder / STAMP).write_text(json.dumps(clients.recipe()) + "\n")
    say(f"the clients in {clients.folder} are installed")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(*sources: Path, salt: str = "") -> str:
    parts = [salt.encode(), *(source.read_bytes() for source in sources)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _run(command: list[str], *, folder: Path | None = None) -> None:
    try:
        subprocess.run(  # noqa: S603 # an argument list of our own, no shell
            command, cwd=folder, timeout=TIMEOUT_S, check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise InstallFailed(f"{' '.join(command[:3])} failed:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{' '.join(command[:3])} took over {TIMEOUT_S:.0f} s") from error
