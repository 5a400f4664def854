"""Removes a cluster's folder when the lab ends, also when that is killed: `sweeper FOLDER`.

The kernel tells it (SIGTERM), as it tells the daemons, which may still be writing: so it tries
again for a while.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

#: In the folder when it has begun to wait.
READY = "sweeper"
_WITHIN_S = 10.0
_PAUSE_S = 0.02


def main(arguments: list[str]) -> int:
    """Wait to be told to end, and remove the folder."""
    folder = Path(arguments[0])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    (folder / READY).touch()
    signal.sigwait({signal.SIGTERM})
    end = time.monotonic() + _WITHIN_S
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_PAUSE_S)
    return 1 if folder.exists() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
