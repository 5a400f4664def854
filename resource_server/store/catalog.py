"""The catalog's rows: read into a snapshot, and replaced by what the YAML files say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.db import connection, transaction

from resource_server.adapters import catalog_files
from resource_server.adapters.catalog_files import CatalogDocuments, Fingerprint
from resource_server.adapters.catalog_spec import ModelSpec, ProjectSpec, SiteSpec
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.store.database import in_database, read_database
from resource_server.store.lease import require_fence
from resource_server.store.models import CatalogRow, ClusterRow, ModelRow, Origin, ProjectRow
from resource_server.store.numbers import catalog_numbers, grow_version
from resource_server.store.overrides import all_overrides

#: Seconds for the question whether the database answers: whoever asks has little patience.
PROBE_S = 3.0

RowT = TypeVar("RowT", ClusterRow, ModelRow, ProjectRow)


class CatalogTables:
    """Reads the catalog from the database."""

    async def available(self) -> bool:
        """Tell whether the database answers right now."""
        try:
            await read_database(_version, timeout_s=PROBE_S)
        except errors.DatabaseUnavailable:
            return False
        return True

    async def version(self) -> int:
        """Return a number that grows with every change."""
        return await read_database(_version)

    async def load(self) -> Catalog:
        """Return a snapshot of everything on offer."""
        return await read_database(load_catalog)


class YamlCatalog:
    """Brings the YAML files into the database whenever they change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock_files: tuple[Path, ...] = ()
        self._taken: Fingerprint | None = None
        self._candidate: Fingerprint | None = None

    async def sync(self, fence: int) -> bool:
        """Bring changed files into the store; see `ports.CatalogSource`.

        Files that have just changed are left until the next look, and taken if they are the same
        then: an editor or a copy may be in the middle of one, and half a file may be a right one
        that lacks its access rule.
        """
        seen = await self._fingerprint()
        if seen == self._taken:
            return False
        if self._taken is not None and seen != self._candidate:
            self._candidate = seen
            return False
        documents = await asyncio.to_thread(catalog_files.read, self._directory)
        changed = await in_database(replace_yaml_rows, documents, fence)
        self._lock_files = documents.lock_files
        self._taken = await self._fingerprint() if self._taken is None else seen
        return changed

    async def _fingerprint(self) -> Fingerprint:
        return await asyncio.to_thread(catalog_files.fingerprint, self._directory, self._lock_files)


@transaction.atomic
def replace_yaml_rows(documents: CatalogDocuments, fence: int) -> bool:
    """Make the rows that YAML owns equal to `documents`; rows of another origin stay untouched.

    Returns whether anything changed. A name that another origin owns is left to it. Raises
    `LeaseLost` if the controller with the fencing number `fence` is not the active one, and
    `CatalogInvalid` if all models are gone at once.
    """
    require_fence(fence)
    _require_models(documents)
    sites = {spec.cluster: spec.to_row() for spec in documents.sites}
    models = {spec.id: spec.to_row() for spec in documents.models}
    projects = {spec.project: spec.to_row() for spec in documents.projects}
    changed = _replace(ClusterRow, "name", sites)
    changed |= _replace(ModelRow, "model_id", models)
    changed |= _replace(ProjectRow, "name", projects)
    if changed:
        grow_version()
    return changed


def _require_models(documents: CatalogDocuments) -> None:
    """Raise `CatalogInvalid` if there were models and no file describes any.

    The folder of a file system that is not mounted looks like that, and every site would be told
    to stop all that it runs.
    """
    if not documents.models and ModelRow.objects.filter(origin=Origin.YAML).exists():
        problem = (
            "models:1: no model is described here any more, so the last ones stay; to end the last "
            "one's instances, run: hotnode model disable"
        )
        raise errors.CatalogInvalid((problem,))


def _replace(table: type[RowT], key: str, wanted: Mapping[str, dict[str, Any]]) -> bool:
    rows = table.objects.in_bulk()
    ours = [row for row in rows.values() if row.origin == Origin.YAML]
    gone = {row.pk for row in ours} - wanted.keys()
    new = [
        table(**{key: name}, origin=Origin.YAML, spec=spec)
        for name, spec in wanted.items()
        if name not in rows
    ]
    updated = _update(ours, wanted)
    table.objects.filter(pk__in=gone).delete()
    table.objects.bulk_create(new)
    return bool(gone or new or updated)


def _update(rows: Iterable[CatalogRow], wanted: Mapping[str, dict[str, Any]]) -> bool:
    """Write the rows whose documents have changed; return whether there are any."""
    stale = [row for row in rows if row.spec != wanted.get(row.pk, row.spec)]
    for row in stale:
        row.spec = wanted[row.pk]
        row.save(update_fields=["spec"])
    return bool(stale)


def _see_one_moment() -> None:
    """Have all queries of the transaction see the same state: all tables and their version."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _version() -> int:
    return catalog_numbers().version


@transaction.atomic
def load_catalog() -> Catalog:
    """Return a snapshot of everything on offer; it blocks."""
    _see_one_moment()
    numbers = catalog_numbers()
    return Catalog(
        [SiteSpec.model_validate(row.spec).to_domain() for row in ClusterRow.objects.all()],
        [
            ModelSpec.model_validate(row.spec).to_domain(created=int(row.created_at.timestamp()))
            for row in ModelRow.objects.all()
        ],
        [ProjectSpec.model_validate(row.spec).to_domain() for row in ProjectRow.objects.all()],
        overrides=all_overrides(),
        generation=numbers.generation,
        version=numbers.version,
    )
