"""Reads files of the spool that a crash or a disk may have damaged, and lets no batch stand still.

A file that says nothing hides that it must be written anew. It is set aside, as `<name>.damaged`,
so that the batch goes on from what else is known of it, and operators can look.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_SUFFIX = ".damaged"


def read(path: Path, parse: Callable[[Mapping[str, Any]], _T]) -> _T | None:
    """Return what the JSON object at `path` says; None without a file.

    `parse` raises `ValueError`, `TypeError` or `KeyError` for an object that makes no sense: it is
    set aside as what is no object, and None is returned.
    """
    try:
        with path.open("rb") as file:
            content, inode = file.read(), os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return None
    try:
        return parse(_object(content))
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        log.error(  # noqa: TRY400 # the file tells more than a traceback
            "batch_file_damaged batch=%s file=%s problem=%r",
            path.parent.name if path.parent.name != "work" else path.parent.parent.name,
            path.name,
            error,
        )
    _set_aside(path, inode)
    return None


def was_damaged(path: Path) -> bool:
    """Whether a file was set aside, whatever there is now."""
    return path.with_name(path.name + _SUFFIX).exists()


def _object(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    return found


def _set_aside(path: Path, inode: int) -> None:
    """Give a file another name. Of several who do, one does; what came meanwhile comes back."""
    aside = path.with_name(path.name + _SUFFIX)
    try:
        path.rename(aside)
        if aside.stat().st_ino != inode:
            with suppress(FileExistsError):
                os.link(aside, path)
    except FileNotFoundError:
        return
    except OSError:
        # The batch stands still for it; but no other one must.
        log.exception("damaged_file_not_set_aside file=%s", path.name)
