"""How tests are shared out among processes, as a plugin: what shares something dear stays together.

(xdist's own `loadgroup` does not see groups under pytest 9.2.)
"""

from __future__ import annotations

import pytest
from typing_extensions import override
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

#: These folders share the engines of a session, which are started once, in one process.
WITH_ENGINES = ("tests/acceptance/", "tests/conformance/")


class SharingOut(LoadScopeScheduling):
    """Gives each process whole files, the largest first; all that need engines count as one."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        """Return what a test belongs to."""
        return "engines" if nodeid.startswith(WITH_ENGINES) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharingOut:
    """Share out in this way, whatever `--dist` says."""
    return SharingOut(config, log)
