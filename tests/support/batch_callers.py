"""Processes that call a site's batch functions, at the same time or as another user."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "unit" / "compute_functions" / "batch_spool" / "calling.py"


def at_once(calls: Sequence[Sequence[Any]], *, user: Sequence[int] = ()) -> list[list[Any]]:
    """Let a process of its own make each list of calls; they begin together.

    `user` are the numbers of a user and of groups; without it they are who runs the tests.
    """
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(PROGRAM), *map(str, user)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        for _ in calls
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process, own in zip(processes, calls, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps(own) + "\n")
        process.stdin.flush()
    said = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        said.append(json.loads(out))
    return said
