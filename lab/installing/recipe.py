"""What an engine's environment is made of; two equal recipes make equal environments."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.installing import pip

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
#: The CPU build of torch; without a hash, as sites differ in where it is from.
TORCH = "torch==2.13.0+cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One engine's recipe.

    `lock` pins everything but torch. `finish` is called with the environment's folder of packages
    when all are installed, does what `finishing` says, and depends on `finish_sources`. `proof` is
    a program that ends well if the engine can run; it should import what the engine does, which
    leaves the byte code behind. `disk_gb` is what must be free before, `installed_gb` what stays.
    """

    title: str
    lock: Path
    packages_size: str
    finish: Callable[[Path], None]
    finishing: str
    finish_sources: tuple[Path, ...]
    proof: str
    disk_gb: float
    installed_gb: float

    def stamp(self) -> dict[str, str]:
        """Return what an environment is marked with that is made by this recipe."""
        sources = [self.lock, *self.finish_sources]
        digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {"sources": digest.hexdigest(), "torch": TORCH, "python": version}

    def pins(self) -> int:
        """Return how many packages the lock names."""
        return pip.pins(self.lock)
