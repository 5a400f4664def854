"""The tests that failed in the last run, if they are few: one line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

#: What pytest notes of a run. It removes the file where all passed.
CACHE = Path(".pytest_cache") / "v" / "cache" / "lastfailed"
#: More than these fail for another reason than a busy machine.
FEW = 3


def few_failed(root: Path) -> list[str]:
    """Return the ids of the tests that failed; none if there are more than few."""
    try:
        failed = json.loads((root / CACHE).read_bytes())
    except FileNotFoundError:
        return []
    return sorted(failed) if len(failed) <= FEW else []


def main() -> int:
    """Print them; return 1 if there is nothing to try again."""
    failed = few_failed(Path(__file__).parents[2])
    print("\n".join(failed))  # noqa: T201 # a program
    return 0 if failed else 1


if __name__ == "__main__":
    sys.exit(main())
