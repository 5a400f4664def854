"""Make the tiny chat model: `ENGINE/bin/python make_tiny_chat.py FOLDER [--steps N]`.

ENGINE is an environment with torch, transformers and tokenizers, such as vLLM's. Nothing is
downloaded. It takes 75 s of one core. With `--check` it makes nothing and asks the model that is
in FOLDER.

The same sources give the same bytes: on CPUs of one type surely, on others of Intel by the promise
of their mathematics library, on all others perhaps not. Then the weights differ, not the answers.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

STEPS = 360
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


def main() -> int:
    """Make or check the model; return 1 if it does not know what it should, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    os.environ |= SAME_EVERYWHERE
    from tiny_chat_maker import making  # noqa: PLC0415 # torch reads the environment when imported

    if given.check:
        return making.check(given.folder, say=_say)
    return making.make(given.folder, steps=given.steps, say=_say)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
