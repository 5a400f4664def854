"""The driver that a site's file asks for."""

from __future__ import annotations

from collections.abc import Mapping

from compute_functions.drivers.driver import InstanceDriver
from compute_functions.drivers.keeper import KeeperDriver
from compute_functions.drivers.provider import ProviderDriver
from compute_functions.site import SiteDirectory
from compute_functions.site_config import SiteConfig


def chosen(
    site: SiteDirectory, config: SiteConfig, environment: Mapping[str, str]
) -> InstanceDriver:
    """Return the keeper driver if the file has a section `keeper`, else the provider driver."""
    slurm = ProviderDriver(site, config, environment=environment)
    if config.keeper is None:
        return slurm
    # The SDK takes a second and 100 MB, which most sites need not spend.
    from compute_functions.drivers.globus_tasks import GlobusTasks  # noqa: PLC0415 # as said above

    tasks = GlobusTasks(config.keeper, config.keeper.client(environment))
    return KeeperDriver(site, slurm, tasks)
