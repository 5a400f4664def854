"""The catalog's numbers: its version, which tells that it changed, and its generation."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from compute_functions.contract.fields import NUMBER_LIMIT
from resource_server.domain import errors
from resource_server.store.models import CatalogVersion


def catalog_numbers() -> CatalogVersion:
    """Return the row of the numbers; before the first change there is none."""
    return CatalogVersion.objects.filter(id=1).first() or CatalogVersion()


def grow_version() -> None:
    """Have everybody take up the catalog anew; it belongs into the change's transaction."""
    CatalogVersion.objects.get_or_create(id=1)
    CatalogVersion.objects.filter(id=1).update(version=F("version") + 1)


@transaction.atomic
def raise_generation(to: int | None = None) -> int:
    """Begin another generation, and return its number: sites take its first version for newer.

    For a database that was restored from an older copy, whose versions sites have seen already. If
    it had raised its generation since that copy, the next one is not enough: then `to` names it.
    """
    CatalogVersion.objects.get_or_create(id=1)
    row = CatalogVersion.objects.select_for_update().get(id=1)
    if to is not None and to >= NUMBER_LIMIT:
        raise errors.WishRefused(f"{to} is so high that no site takes it.")
    if to is not None and to <= row.generation:
        raise errors.WishRefused(f"The generation is {row.generation} already, and never shrinks.")
    row.generation = row.generation + 1 if to is None else to
    row.version += 1
    row.save()
    return row.generation
