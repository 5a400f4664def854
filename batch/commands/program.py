"""How a person calls this program, for what they are told to give next."""

from __future__ import annotations

import os
import shlex

#: How the command is called where a script calls it for people.
_CALLED = "HOTNODE_BATCH_COMMAND"


def name() -> str:
    """Return how a person calls this program."""
    return os.environ.get(_CALLED) or "python -m batch"


def command(*words: str) -> str:
    """Return a command that a person may give next."""
    return f"{name()} {shlex.join(words)}"
