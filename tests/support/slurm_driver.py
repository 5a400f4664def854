"""A `ProviderDriver` on a real Slurm cluster; instead of instances its jobs run a small script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from compute_functions import site_config
from compute_functions.drivers.provider import ProviderDriver
from compute_functions.site import SiteDirectory
from lab.slurm.cluster import SlurmCluster
from tests.support.slurm_site import site_yaml, write_site

#: Says what it was started with, and ends when it is told to.
_JOB = """\
#!/bin/sh
trap 'echo told to end; exit 0' TERM
echo "arguments: $*"
env | sort
echo begun
while :; do sleep 0.1; done
"""


class DriverSite:
    """A site whose driver submits to `cluster`."""

    def __init__(self, folder: Path, cluster: SlurmCluster, **changes: Any) -> None:
        job = folder / "job.sh"
        job.write_text(_JOB)
        job.chmod(0o755)
        values = site_yaml(folder) | {"job": {"python": str(job)}}
        for section, fields in changes.items():
            values[section] = values.get(section, {}) | fields
        self.cluster = cluster
        self.site: SiteDirectory = write_site(folder, values)
        self.config = site_config.load(self.site)

    def driver(self, **environment: str) -> ProviderDriver:
        """Return a driver as a fresh agent would have it: it knows nothing of jobs before it."""
        ours = dict(os.environ) | self.cluster.environment() | environment
        return ProviderDriver(self.site, self.config, environment=ours)

    def printed(self, instance: str) -> str:
        """Return what an instance's job has printed by now."""
        file = self.site.logs / f"{instance}.job.log"
        return file.read_text() if file.exists() else ""
