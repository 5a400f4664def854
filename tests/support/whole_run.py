"""Runs all tests; the few that failed once more, alone, and names them (ADR 0017)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What pytest notes of a run. It removes the file where all passed.
CACHE = Path(".pytest_cache") / "v" / "cache" / "lastfailed"
#: More than these fail for another reason than a busy machine.
FEW = 3
_FAILED = 1


def few_failed(root: Path) -> list[str]:
    """Return the ids of the tests that failed; none if there are more than few, or no tests."""
    try:
        failed = json.loads((root / CACHE).read_bytes())
    except FileNotFoundError:
        return []
    # A process of the tests that failed as a whole has no such id.
    few = len(failed) <= FEW and all("::" in one for one in failed)
    return sorted(failed) if few else []


def run(root: Path) -> int:
    """Run them and return pytest's exit status."""
    # Most of their time tests wait. One of the two processes has all that need engines.
    status = _pytest(root, "--cache-clear", "--numprocesses", "2")
    failed = few_failed(root) if status == _FAILED else []
    if not failed:
        return status
    _say("these failed beside others, and run once more, alone:", failed)
    status = _pytest(root, "--last-failed", "--last-failed-no-failures", "none")
    if status == 0:
        _say("all passed, but these are unsteady (their failures stand above):", failed)
    return status


def _pytest(root: Path, *options: str) -> int:
    """Run pytest; a signal to end goes on to it, and Ctrl-C reaches it by itself."""
    command = [sys.executable, "-m", "pytest", *options]
    with subprocess.Popen(command, cwd=root) as child:  # noqa: S603 # our own command
        before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        try:
            return _ended(child)
        finally:
            signal.signal(signal.SIGTERM, before)


def _ended(child: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue  # It tells what it did, and ends.


def _say(what: str, tests: list[str]) -> None:
    print(f"hotnode: {what}", *tests, sep="\n", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(run(ROOT))
