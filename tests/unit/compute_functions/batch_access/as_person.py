"""Tries what a local user may do: the kernel's own answer. Reads a JSON object a line; is root."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def may(path: Path, how: str) -> bool:
    """Do it, and tell whether it worked."""
    try:
        if how == "read":
            os.close(os.open(path, os.O_RDONLY))
        elif how == "write":
            os.close(os.open(path, os.O_WRONLY))
        elif how == "enter":
            (path / "inside.txt").stat()
        else:
            (path / "new").mkdir()
            (path / "new").rmdir()
    except PermissionError:
        return False
    return True


for line in sys.stdin:
    asked = json.loads(line)
    os.setgroups(asked["gids"])
    os.setegid(asked["gids"][0])
    os.seteuid(asked["uid"])
    answer = may(Path(asked["path"]), asked["how"])
    os.seteuid(0)
    os.setegid(0)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
