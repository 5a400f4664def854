"""The mode of access that a site's file asks for."""

from __future__ import annotations

from compute_functions.batch_access.access import Access
from compute_functions.batch_access.account import AccountAccess
from compute_functions.batch_access.no_paths import NoPaths
from compute_functions.batch_access.patience import LATER, Patience
from compute_functions.batch_access.user import UserAccess
from compute_functions.batch_settings import AccessMode, BatchSettings


def chosen(settings: BatchSettings, patience: Patience = LATER) -> Access:
    """Return the site's rules for paths. `patience` is for helpers that run as other users."""
    if settings.access is None:
        return NoPaths(settings)
    if settings.access is AccessMode.ACCOUNT:
        return AccountAccess(settings)
    return UserAccess(settings, patience)
