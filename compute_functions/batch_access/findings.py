"""What is wrong with the files on which access by path rests: for whoever checks a site."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from compute_functions.batch_access import user
from compute_functions.batch_access.identities import Identities
from compute_functions.batch_access.identity_mapping import IdentityMapping
from compute_functions.batch_settings import AccessMode, BatchSettings
from compute_functions.errors import ConfigurationError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def problems(settings: BatchSettings) -> Iterator[str]:
    """Yield what the operators must mend; nothing if all is well.

    It is looked at as who runs this: another account may read other files.
    """
    try:
        yield from _who_is_who(settings)
    except ConfigurationError as error:
        yield str(error)
    if settings.access is AccessMode.USER:
        yield from _program(settings.helper)


def _who_is_who(settings: BatchSettings) -> Iterator[str]:
    if settings.identity_mapping is not None:
        IdentityMapping.read(settings.identity_mapping)
    if settings.identities_file is not None:
        yield from Identities.read(settings.identities_file).problems()


def _program(helper: Path | None) -> Iterator[str]:
    """Look at the program that runs as people: who can change it can be each of them."""
    files = [Path(part) for part in user.program(helper) if part.startswith("/")]
    try:
        modes = {place: place.stat().st_mode for file in files for place in _places(file)}
    except OSError as error:
        yield f"{error.filename} cannot be looked at: {error.strerror}"
        return
    for path, mode in modes.items():
        # In a folder like `/tmp` nobody replaces what is another's.
        is_safe = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & _OTHERS_WRITE and not is_safe:
            means = f"with that they could run anything as your users: chmod go-w {path}"
            yield f"others may write {path}, and {means}"
    if helper is not None and not os.access(helper, os.X_OK):
        yield f"{helper} cannot be run: chmod a+rx {helper}"


def _places(path: Path) -> Iterator[Path]:
    """Yield a file and all folders on the way to it, those of links among them."""
    for place in (path, *path.parents):
        if place.is_symlink():
            yield from _places(place.parent / place.readlink())
        else:
            yield place
