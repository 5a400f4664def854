"""Which functions hubs may have called on the site link: those of this table, and no others.

They touch the spool alone, whose files are made exclusively or replaced in one step, so any process
of the service's account may run them: they ask for no lease. Of two agents, as while one takes over
from the other, either gives the same answer, and nothing happens twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from compute_functions.batch_spool.calls import batch_file, run_batch
from compute_functions.contract import JsonObject
from compute_functions.site import SiteDirectory

Function: TypeAlias = Callable[[JsonObject], JsonObject]


def of(site: SiteDirectory) -> Mapping[str, Function]:
    """Return them by the names under which they are registered for tasks too."""
    return {
        "run_batch": partial(run_batch, site=site),
        "batch_file": partial(batch_file, site=site),
    }
