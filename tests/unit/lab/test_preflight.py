"""What the demo says it needs: one truth, in the program and in the README."""

from __future__ import annotations

from pathlib import Path

from lab import preflight
from lab.recipes import RECIPES

ROOT = Path(__file__).parents[3]
ENGINES = list(RECIPES.values())


def test_the_readme_says_what_preflight_demands() -> None:
    readme = (ROOT / "README.md").read_text()

    assert f"{preflight.free_gb(ENGINES):.0f} GB of free disk" in readme
    assert f"below this folder ({preflight.stays_gb(ENGINES):.1f} GB)" in readme
    assert f"{preflight.MEMORY_GB:.0f} GB of free memory" in readme


def test_the_script_says_how_large_the_environment_is() -> None:
    assert f"in .venv ({preflight.VENV_GB} GB," in (ROOT / "hotnode").read_text()


def test_room_is_needed_for_the_worst_moment() -> None:
    first, second = ENGINES[0], ENGINES[0]

    assert preflight.free_gb([]) == 0
    assert preflight.free_gb([first]) == preflight.VENV_GB + first.disk_gb
    assert preflight.free_gb([first, second]) == (
        preflight.VENV_GB + first.installed_gb + second.disk_gb
    )
