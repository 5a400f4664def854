"""The command of every maker's script: make a model, check one, or rehearse the making."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

#: One thread and one set of instructions, so that sums are added in the same order everywhere. Each
#: of these changes the weights. MKL_CBWR=COMPATIBLE would promise equality on every CPU, at 2.4
#: times the work; AVX2 costs a third more than no promise.
SAME_EVERYWHERE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "HF_HUB_OFFLINE": "1",
    "MKL_CBWR": "AVX2",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def run(maker: str, *, steps: int, about: str | None) -> int:
    """Do what the arguments say with the module `maker`; return the script's exit status."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", type=Path, help="where the model is, or shall be")
    parser.add_argument("--steps", type=int, default=steps)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="ask the model that is in FOLDER")
    what.add_argument(
        "--rehearse", action="store_true", help="make the first steps, and print the weights' hash"
    )
    given = parser.parse_args()
    os.environ |= SAME_EVERYWHERE
    # torch reads the environment when it is imported.
    from tiny_making import making  # noqa: PLC0415

    module = importlib.import_module(maker)
    if given.check:
        return making.check(module, given.folder, say=_say)
    if given.rehearse:
        return making.rehearse(module, steps=given.steps, say=_say)
    return making.make(module, given.folder, steps=given.steps, say=_say)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
