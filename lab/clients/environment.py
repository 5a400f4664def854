"""Environments of clients, each made from a lock of its own."""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.installing import installation, pip
from lab.installing.installation import Say
from lab.installing.recipe import REQUIREMENTS

NODE_SOURCES = Path(__file__).parents[2] / "tests" / "conformance" / "node"
NODE_LOCKS = ("package.json", "package-lock.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonClients:
    """Clients for Python, in a virtual environment."""

    folder: Path
    lock: Path

    @property
    def title(self) -> str:
        """What people call them."""
        return "a set of clients for Python"

    @property
    def program(self) -> Path:
        """What runs a client's script."""
        return self.folder / "bin" / "python"

    def stamp(self) -> str:
        """Return what the environment is made from, in short."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return _digest(self.lock, salt=version)

    def build(self, say: Say) -> None:
        """Make the environment in its empty place."""
        installation.make_venv(self.folder)
        pip.install_locked(self.program, self.lock, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClients:
    """Clients for Node: `node` and `npm` must be there."""

    folder: Path

    @property
    def title(self) -> str:
        """What people call them."""
        return "the client for Node"

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

    def stamp(self) -> str:
        """Return what the environment is made from, in short."""
        return _digest(*(NODE_SOURCES / name for name in NODE_LOCKS))

    def build(self, say: Say) -> None:
        """Make the environment in its empty place."""
        self.folder.mkdir(parents=True)
        for name in NODE_LOCKS:
            shutil.copy(NODE_SOURCES / name, self.folder)
        quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts")
        installation.run(["npm", "ci", *quiet], folder=self.folder)


Clients = PythonClients | NodeClients


def python_clients(folder: Path) -> dict[str, PythonClients]:
    """Return the environments for Python below a folder, by the name of each one's lock."""
    return {
        name: PythonClients(folder=folder / name, lock=REQUIREMENTS / f"{name}.txt")
        for name in ("clients", "clients-openai-1", "clients-openai-batch")
    }


def node_clients(folder: Path) -> NodeClients:
    """Return the environment for Node below a folder."""
    return NodeClients(folder=folder / "node")


def _digest(*sources: Path, salt: str = "") -> str:
    parts = [salt.encode(), *(source.read_bytes() for source in sources)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
