"""`python -m lab.clients.install --target DIR`: the clients of the conformance tests.

The openai SDK in its last first version and a later one, `openai-batch`, LangChain, LlamaIndex, the
`llm` command and Anthropic's SDK, all pinned with hashes in `requirements/clients*.txt` (0.5 GB on
disk); and the openai SDK for Node where `node` and `npm` are found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.clients import environment
from lab.installing import installation


def main(arguments: list[str] | None = None) -> int:
    """Install, and return the exit status: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m lab.clients.install", description=__doc__)
    parser.add_argument("--target", type=Path, required=True, help="the environments' folder")
    target = parser.parse_args(arguments).target.absolute()
    node = environment.node_clients(target)
    try:
        for clients in environment.python_clients(target).values():
            installation.ensure(clients, _say)
        if missing := node.missing():
            print(f"the openai SDK for Node is left out: {missing}", file=sys.stderr)
        else:
            installation.ensure(node, _say)
    except installation.InstallFailed as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
