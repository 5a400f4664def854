"""Sets the wall clock of a process of ours forward or back at SIGUSR1, with no privilege at all.

Put into a folder of PYTHONPATH under the name `sitecustomize.py` it is found by every Python; the
variable JUMP_S says by how many seconds.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import time


def jump(*_: object) -> None:
    """Jump, and say so."""
    seconds, real = float(os.environ["JUMP_S"]), time.time
    time.time = lambda: real() + seconds

    class Shifted(dt.datetime):
        """What `datetime.now` says then."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(time.time(), tz)

    # Who judges sessions and credentials has its own name for the class.
    if judge := sys.modules.get("jwt.api_jwt"):
        judge.datetime = Shifted  # type: ignore[attr-defined] # it imports it so
    sys.stderr.write("clock_jumped\n")
    sys.stderr.flush()


if "JUMP_S" in os.environ:
    signal.signal(signal.SIGUSR1, jump)
