"""Makes the calls that it reads, one after the other, and prints what they gave.

With arguments, a user's number and those of groups, it becomes that user before.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))

from compute_functions import site_config
from compute_functions.batch_access.chosen import chosen
from compute_functions.batch_spool import fate, view
from compute_functions.batch_spool.calls import batch_file, run_batch
from compute_functions.batch_spool.delivery import Delivery
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.site import SiteDirectory

#: `PR_SET_DUMPABLE`: who changed its user may not see its own /proc/self, until it says otherwise.
_SET_DUMPABLE = 4


def begin(path: str) -> bool:
    """Begin a batch, as the agent does."""
    return fate.begin(BatchFolder(Path(path)), now=1.0)


def attend(path: str) -> None:
    """Deliver what a batch has, as the agent does."""
    settings = site_config.load(SiteDirectory.from_environment(os.environ)).batches
    if settings is not None:
        Delivery(chosen(settings)).attend(view.read(BatchFolder(Path(path))), now=2.0)


def become(user: int, *groups: int) -> None:
    """Be another user from now on."""
    os.setgroups(groups)
    os.setgid(groups[0])
    os.setuid(user)
    if ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0):
        raise OSError("the process cannot see itself")


FUNCTIONS: dict[str, Any] = {
    "run_batch": run_batch,
    "batch_file": batch_file,
    "begin": begin,
    "attend": attend,
}
if sys.argv[1:]:
    become(*map(int, sys.argv[1:]))
sys.stdout.write("ready\n")
sys.stdout.flush()
calls = json.loads(sys.stdin.readline())
sys.stdout.write(json.dumps([FUNCTIONS[name](value) for name, value in calls]))
