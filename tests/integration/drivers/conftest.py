"""One real Slurm cluster for a module's tests, and a site on it for each test."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.slurm.cluster import SlurmCluster, slurm_cluster
from lab.system.packages import PackageMissing
from tests.support.slurm_driver import DriverSite


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SlurmCluster]:
    try:
        async with slurm_cluster(tmp_path_factory.mktemp("slurm"), nodes=2, gpus=4) as running:
            yield running
    except PackageMissing as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(loop_scope="module")
async def site(tmp_path: Path, cluster: SlurmCluster) -> AsyncIterator[DriverSite]:
    """Return a site; whatever it left in the queue is cancelled."""
    yield DriverSite(tmp_path, cluster)
    await cluster.run("scancel", f"--user={getpass.getuser()}")
    await cluster.until_nodes(cluster.nodes, "idle")
