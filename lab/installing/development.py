"""`python3 -m lab.installing.development PYTHON`: this project's own packages, with progress.

PYTHON is the environment's. Runs with the system's Python and the standard library alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.installing import pip
from lab.installing.recipe import REQUIREMENTS

LOCK = REQUIREMENTS / "dev.txt"


def main(arguments: list[str]) -> int:
    """Install, and return the exit status."""
    try:
        pip.install_locked(Path(arguments[0]), LOCK, _say)
    except pip.PipFailed as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130  # Whoever called says so.
    return 0


def _say(line: str) -> None:
    print(f"hotnode: {line.strip()}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
