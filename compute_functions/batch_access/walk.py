"""Goes along a path, one component after the other, as one person and without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compute_functions.batch_access import node
from compute_functions.batch_access.acl import ENTER, READ, WRITE
from compute_functions.batch_access.node import Node
from compute_functions.batch_access.person import Person
from compute_functions.errors import AccessRefused


def below(path: str, folders: Sequence[Path]) -> Path:
    """Return where `path` stands, for a path below one of `folders`, or raise `AccessRefused`.

    The operators' own folders may be reached by links, as `/home` often is; what comes below them
    may not.
    """
    parts = _parts(path)
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        real = folder.resolve()
        for spelt in (folder, real):
            own = spelt.parts[1:]
            if parts[: len(own)] == own:
                return real.joinpath(*parts[len(own) :])
    raise AccessRefused(f"{path}: it is not below a folder that the cluster opens for batches")


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.split("/") if part)
    if not path.startswith("/") or "\0" in path or {".", ".."} & set(parts):
        raise AccessRefused(f"{path}: it must be an absolute path without . and ..")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:  # JSON can say half a character.
        raise AccessRefused(f"{path!a}: this is no name") from error
    return parts


@contextmanager
def folder(path: Path, person: Person) -> Iterator[Node]:
    """Hold a folder whose content the person may reach, or raise `AccessRefused`."""
    with ExitStack() as stack:
        here = stack.enter_context(node.root())
        here.require(person, ENTER)
        for name in path.parts[1:]:
            here = stack.enter_context(here.child_folder(name))
            here.require(person, ENTER)
        yield here


@contextmanager
def writable_folder(path: Path, person: Person) -> Iterator[Node]:
    """Hold a folder in which the person may make files, or raise `AccessRefused`."""
    with folder(path, person) as here:
        here.require(person, WRITE | ENTER)
        yield here


@contextmanager
def file(path: Path, person: Person) -> Iterator[Node]:
    """Hold a file that the person may read and that has this name only."""
    with folder(path.parent, person) as parent, parent.child(path.name) as found:
        status = found.status
        found.refuse_link()
        if not stat.S_ISREG(status.st_mode):
            raise AccessRefused(f"{found.path}: it is not a regular file")
        found.require(person, READ)
        if status.st_nlink != 1:
            raise AccessRefused(f"{found.path}: it has more than one name (hard links)")
        yield found
