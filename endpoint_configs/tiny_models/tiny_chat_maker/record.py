"""The record beside a made model: from what, with what and on what it was made.

It needs the standard library alone, so that a test can compare without the engine's environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

_CPU_FIELDS = ("vendor_id", "cpu family", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The content of `made.json`; `files` and `sources` are SHA-256 hashes."""

    NAME: ClassVar[str] = "made.json"

    sources: str
    steps: int
    versions: Mapping[str, str]
    cpu: str
    instructions: str
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


def sources() -> str:
    """Return the hash of everything in this repository that decides what is made."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), *sorted(here.glob("*.jinja"))]
    files.append(here.parent / "make_tiny_chat.py")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def cpu() -> str:
    """Return the type of this machine's CPU, as `GenuineIntel 6 85`."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return " ".join(found.get(field, "unknown") for field in _CPU_FIELDS)
