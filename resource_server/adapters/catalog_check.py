"""The operators' files looked at together: the catalog, the limits, the clusters' clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from resource_server.adapters import catalog_files, direct, limits_file
from resource_server.adapters.catalog_spec import SiteSpec
from resource_server.adapters.globus_compute import credentials
from resource_server.domain.errors import CatalogInvalid

log = structlog.get_logger()


def check(directory: Path, clients: Path | None) -> str:
    """Return what there is, or raise `CatalogInvalid` with every mistake in all files.

    Without `clients` no secret is looked for: neither a cluster's client nor what a `direct` target
    names.
    """
    found = catalog_files.look(directory)
    problems = [*found.problems, *found.without_effect]
    problems += limits_file.problems(directory, models=found.models)
    unusable = credentials.unusable(clients, found.clients) if clients else {}
    problems += [f"cluster {name}: {why}" for name, why in unusable.items()]
    problems += _unusable_targets(found.documents.sites) if clients else ()
    if problems:
        raise CatalogInvalid(tuple(problems))
    clusters = _counted(len(found.documents.sites), "cluster")
    models = _counted(len(found.documents.models), "model")
    return f"{directory}: {clusters}, {models}: no mistakes"


def log_unusable_clients(directory: Path, clients: Path) -> None:
    """Write one line to the log for each cluster that cannot be reached for want of a client.

    It is no reason not to serve the others, and the file may still come.
    """
    sites = catalog_files.read(directory).sites
    named = {site.cluster: site.globus_compute.client for site in sites if site.globus_compute}
    for cluster, reason in credentials.unusable(clients, named).items():
        log.error("globus_client_unusable", cluster=cluster, reason=reason)
    for reason in _unusable_targets(sites):
        log.error("direct_target_unusable", reason=reason)


def _unusable_targets(sites: Iterable[SiteSpec]) -> Iterator[str]:
    """Yield what is wrong with the files that `direct` targets name."""
    for site in sites:
        for name, framework in site.frameworks.items():
            target = framework.direct and framework.direct.to_domain()
            if target and (why := direct.unusable(target)):
                yield f"cluster {site.cluster}, framework {name}: direct: {why}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
