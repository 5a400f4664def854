"""The operators' files looked at together: the catalog, the limits, the clusters' clients."""

from __future__ import annotations

from pathlib import Path

import structlog

from resource_server.adapters import catalog_files, limits_file
from resource_server.adapters.globus_compute import credentials
from resource_server.domain.errors import CatalogInvalid

log = structlog.get_logger()


def check(directory: Path, clients: Path | None) -> str:
    """Return what there is, or raise `CatalogInvalid`; without `clients` none is looked for."""
    documents = catalog_files.read(directory)
    limits_file.check(directory, models={spec.id for spec in documents.models})
    if clients and (problems := _unusable_clients(directory, clients)):
        raise CatalogInvalid(tuple(f"cluster {name}: {why}" for name, why in problems.items()))
    clusters = _counted(len(documents.sites), "cluster")
    return f"{directory}: {clusters}, {_counted(len(documents.models), 'model')}: no mistakes"


def log_unusable_clients(directory: Path, clients: Path) -> None:
    """Write one line to the log for each cluster that cannot be reached for want of a client.

    It is no reason not to serve the others, and the file may still come.
    """
    for cluster, reason in _unusable_clients(directory, clients).items():
        log.error("globus_client_unusable", cluster=cluster, reason=reason)


def _unusable_clients(directory: Path, clients: Path) -> dict[str, str]:
    sites = catalog_files.read(directory).sites
    return credentials.unusable(
        clients, {site.cluster: site.globus_compute.client for site in sites}
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
