"""The command that installs an engine: `python -m lab.<engine>.install --target DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.installing import installation, preconditions
from lab.installing.environment import Environment
from lab.installing.recipe import Recipe


def install(recipe: Recipe, about: str | None, arguments: list[str] | None) -> int:
    """Install, and return the exit status: 0 done, 1 failed, 2 this machine cannot run it."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--target", type=Path, required=True, help="the environment's folder")
    target = parser.parse_args(arguments).target.absolute()
    engine = Environment(target, recipe)
    machine = preconditions.Machine.here(target)
    disk_gb = 0.0 if engine.is_current() else recipe.disk_gb
    if unmet := preconditions.problems(machine, disk_gb=disk_gb):
        print(f"{recipe.title} cannot be installed here:", *unmet, sep="\n  ", file=sys.stderr)
        return 2
    try:
        installation.ensure(engine, _say)
    except installation.InstallFailed as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
