"""Which local user the owner of a batch is, by the operators' file or the endpoint's own."""

from __future__ import annotations

from compute_functions.batch_access.identities import Identities
from compute_functions.batch_access.identity_mapping import IdentityMapping
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused


def person(settings: BatchSettings, order: BatchOrder) -> Person:
    """Return the local user; `ANYBODY` if the site knows none."""
    if settings.identity_mapping is not None:
        mapping = IdentityMapping.read(settings.identity_mapping)
        return mapping.person(order.owner, order.username)
    if settings.identities_file is not None:
        return Identities.read(settings.identities_file).person((*order.owner, order.username))
    return ANYBODY


def known(settings: BatchSettings, order: BatchOrder, path: str) -> Person:
    """Return a local user, or refuse the path."""
    found = person(settings, order)
    require_known(found, path)
    return found


def require_known(found: Person, path: str) -> None:
    """Refuse a path to somebody whom the site does not know."""
    if found.uid is None:
        raise AccessRefused(f"{path}: the cluster does not know which of its users you are")


def input_path(order: BatchOrder) -> str:
    """Return the path of the order's input."""
    if order.input_path is None:
        raise AccessRefused("the batch names no input file")
    return order.input_path
