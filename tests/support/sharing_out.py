"""How tests are shared out among processes, as a plugin: what shares something dear stays together.

(xdist's own `loadgroup` does not see groups under pytest 9.2.)
"""

from __future__ import annotations

import pytest
from typing_extensions import override
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

#: These folders share the engines of a session, which are started once, in one process.
WITH_ENGINES = ("tests/acceptance/", "tests/conformance/")
ENGINES = "engines"

#: How long a test takes in files and folders that start programs, roughly (seconds).
DEAR_S = {
    "tests/integration/batch_client/": 5.0,
    "tests/integration/batch_routes/test_clients.py": 10.0,
    "tests/integration/batch_site/": 15.0,
    "tests/integration/batch_site/test_all_parts_die.py": 110.0,
    "tests/integration/batch/test_run_faults.py": 7.0,
    "tests/integration/drivers/": 5.0,
    "tests/integration/instance_job/": 5.0,
    "tests/integration/lifecycle/": 18.0,
    "tests/integration/processes/": 17.0,
    "tests/integration/site_agent/": 10.0,
    "tests/integration/slurm/": 5.0,
    "tests/integration/stream_faults/": 9.0,
    "tests/integration/stream_faults/test_hubs.py": 35.0,
    "tests/integration/system/": 8.0,
    "tests/integration/test_": 6.0,
}
_USUAL_S = 0.3


def seconds(scope: str, tests: int) -> float:
    """Return how long so many tests of a file will take, roughly; engines come before all."""
    if scope == ENGINES:
        return float("inf")
    known = [prefix for prefix in DEAR_S if scope.startswith(prefix)]
    return tests * (DEAR_S[max(known, key=len)] if known else _USUAL_S)


class SharingOut(LoadScopeScheduling):
    """Gives each process whole files, the longest first; all that need engines count as one."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        """Return what a test belongs to."""
        return ENGINES if nodeid.startswith(WITH_ENGINES) else nodeid.partition("::")[0]

    @override
    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give the longest of what is left: a long one that begins last leaves others idle."""
        waiting = self.workqueue
        waiting.move_to_end(
            max(waiting, key=lambda scope: seconds(scope, len(waiting[scope]))), last=False
        )
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharingOut:
    """Share out in this way, whatever `--dist` says."""
    return SharingOut(config, log)
