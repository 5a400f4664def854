"""The record beside a made model: from what, with what and on what it was made.

It needs the standard library alone, so that a test can compare without the engine's environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

#: After so many steps the weights are noted, for whoever wants to compare and not to wait.
REHEARSED_STEPS = 5
_CPU_FIELDS = ("vendor_id", "cpu family", "model")
_SOURCES = ("*.py", "*.jinja", "made.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The content of `made.json`; `files`, `sources` and `rehearsed` are SHA-256 hashes.

    `rehearsed` is of the weights after the first `REHEARSED_STEPS`.
    """

    NAME: ClassVar[str] = "made.json"

    sources: str
    steps: int
    versions: Mapping[str, str]
    cpu: str
    instructions: str
    rehearsed: str
    right: int
    asked: int
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write the record into the model's folder."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        (folder / self.NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of the model in `folder`."""
        return cls(**json.loads((folder / cls.NAME).read_text(encoding="utf-8")))


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a made model, but its record."""
    names = sorted(path.name for path in folder.iterdir() if path.name != Record.NAME)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def sources(packages: Iterable[str]) -> str:
    """Return the hash of what decides what is made: of folders beside this one, and of it."""
    here = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in sorted({*packages, Path(__file__).parent.name}):
        for file in sorted(found for kind in _SOURCES for found in (here / package).glob(kind)):
            digest.update(f"{package}/{file.name}".encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def cpu() -> str:
    """Return the type of this machine's CPU, as `GenuineIntel 6 85`."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return " ".join(found.get(field, "unknown") for field in _CPU_FIELDS)
