"""One file or folder that is held by a descriptor, whatever becomes of its name meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from compute_functions.batch_access import acl
from compute_functions.batch_access.acl import Entry, Rights
from compute_functions.batch_access.person import Person
from compute_functions.errors import AccessRefused, BatchRefused

_BLOCK = 1 << 20
#: Holds the thing itself, a link too, without reading it: no right on it is needed for that.
_HOLD = os.O_PATH | os.O_NOFOLLOW
#: Where a file has none of a kind, or its file system knows none.
_NO_ATTRIBUTE = frozenset({errno.ENODATA, errno.EOPNOTSUPP})
#: Rights by other rules than POSIX ACLs; mode bits are a guess at them.
_FOREIGN_ACL = "system.nfs4_acl"
_WORDS = {acl.READ: "read", acl.WRITE: "write", acl.ENTER: "enter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file or folder; `path` is its name to the person who asked."""

    descriptor: int
    path: str

    @property
    def status(self) -> os.stat_result:
        """What it is now."""
        return os.fstat(self.descriptor)

    @property
    def size(self) -> int:
        """How many bytes a file has."""
        return self.status.st_size

    @property
    def proc_path(self) -> str:
        """A path that leads to it and to nothing else."""
        return f"/proc/self/fd/{self.descriptor}"

    @property
    def is_folder(self) -> bool:
        """Whether something can stand below it."""
        return stat.S_ISDIR(self.status.st_mode)

    def require(self, person: Person, wanted: int) -> None:
        """Raise `AccessRefused` unless the person has all of these rights."""
        if not self._rights().allow(person, wanted):
            words = " and ".join(word for right, word in _WORDS.items() if right & wanted)
            who = "not everybody" if person.uid is None else "you"
            verb = "may" if person.uid is None else "may not"
            raise AccessRefused(f"{self.path}: {who} {verb} {words} it")

    def _rights(self) -> Rights:
        if self._attribute(_FOREIGN_ACL) is not None:
            raise AccessRefused(f"{self.path}: rights on this file system cannot be evaluated")
        status, entries = self.status, self.acl()
        if entries is None:
            return Rights.of_mode(uid=status.st_uid, gid=status.st_gid, mode=status.st_mode)
        return Rights(uid=status.st_uid, gid=status.st_gid, entries=entries)

    def acl(self) -> tuple[Entry, ...] | None:
        """Return its ACL; None if it has mode bits alone."""
        stored = self._attribute(acl.ATTRIBUTE)
        try:
            return None if stored is None else acl.unpacked(stored)
        except ValueError as error:
            raise AccessRefused(f"{self.path}: its ACL cannot be read: {error}") from error

    def _attribute(self, name: str) -> bytes | None:
        try:
            return os.getxattr(self.proc_path, name)
        except OSError as error:
            if error.errno in _NO_ATTRIBUTE:
                return None
            raise

    @contextmanager
    def child(self, name: str, *, flags: int = 0) -> Iterator[Node]:
        """Hold what has this name in the folder. A link is held itself, not what it leads to."""
        path = f"{self.path.rstrip('/')}/{name}"
        try:
            descriptor = os.open(name, _HOLD | flags, dir_fd=self.descriptor)
        except OSError as error:
            raise _translated(error, path) from error
        try:
            yield Node(descriptor=descriptor, path=path)
        finally:
            os.close(descriptor)

    @contextmanager
    def child_folder(self, name: str) -> Iterator[Node]:
        """Hold a folder of this name; one that is mounted when it is used is mounted now."""
        with self.child(name) as found:
            found.refuse_link()
            if not found.is_folder:
                raise AccessRefused(f"{found.path}: it is not a folder")
        with self.child(name, flags=os.O_DIRECTORY) as mounted:
            yield mounted

    def refuse_link(self) -> None:
        """Raise `AccessRefused` if it is a link."""
        if stat.S_ISLNK(self.status.st_mode):
            raise AccessRefused(f"{self.path}: it is a link; give the path to which it leads")

    @contextmanager
    def reading(self) -> Iterator[int]:
        """Yield a descriptor that reads the very file that is held."""
        try:
            # A lease of somebody else on it must not hold us up.
            descriptor = os.open(self.proc_path, os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError as error:
            raise AccessRefused(f"{self.path}: the service's account may not read it") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def copy_to(self, target: BinaryIO) -> None:
        """Write a file's content there; `BatchRefused` if it changed meanwhile."""
        with self.reading() as source:
            before = os.fstat(source)
            left = before.st_size
            while left and (block := os.read(source, min(left, _BLOCK))):
                target.write(block)
                left -= len(block)
            if left or _stamp(os.fstat(source)) != _stamp(before):
                raise BatchRefused(f"{self.path}: it changed while it was read")


@contextmanager
def root() -> Iterator[Node]:
    """Hold the folder of which all others are part."""
    descriptor = os.open("/", _HOLD | os.O_DIRECTORY)
    try:
        yield Node(descriptor=descriptor, path="/")
    finally:
        os.close(descriptor)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _translated(error: OSError, path: str) -> Exception:
    """Return what the person may know; an error of the disk stays one."""
    match error.errno:
        case errno.ENOENT:
            return AccessRefused(f"{path}: there is no such file or folder")
        case errno.EACCES | errno.EPERM:
            return AccessRefused(f"{path}: the service's account does not reach it")
        case errno.ENOTDIR:
            return AccessRefused(f"{path}: it is not a folder")
        case errno.ENAMETOOLONG | errno.EINVAL:
            return AccessRefused(f"{path}: this is no name")
        case _:
            return error
