"""A batch's own folder among the files of a person: made, shared with that person, filled."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from compute_functions.batch_access import acl
from compute_functions.batch_access.access import Content
from compute_functions.batch_access.acl import ENTER, READ, WRITE
from compute_functions.batch_access.node import Node
from compute_functions.batch_access.person import Person
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused

_UNSAFE = re.compile(r"[^A-Za-z0-9._+=-]+")
#: Names are cut so that the longest of ours still is one (bytes of UTF-8).
_LONGEST_PART = 80
#: The folder of a batch has two files; in one with thousands no more are looked at.
_MOST_ENTRIES = 1000
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_SUFFIX = ".jsonl"
#: How a file system says that it knows no ACLs, or none of ours.
_NO_ACL = frozenset({errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL})


def folder_name(order: BatchOrder) -> str:
    """Return `<input>_<model>_<batch-id>`."""
    return f"{_input(order)}_{_cut(_UNSAFE.sub('-', order.model))}_{order.batch}"


def file_name(order: BatchOrder, kind: str) -> str:
    """Return `<input>_<timestamp>.<kind>`; the time is the order's (UTC), so it never changes."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(order.created_at))
    return f"{_input(order)}_{stamp}.{kind}"


def _input(order: BatchOrder) -> str:
    name = order.input_name.removesuffix(_SUFFIX).lstrip(".")
    return _cut(name) or "input"


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_PART].decode(errors="ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFolder:
    """Such a folder. `group` is through which the person has it; None where an ACL does that."""

    node: Node
    person: Person
    group: int | None

    @property
    def path(self) -> str:
        """Its name to the person."""
        return self.node.path

    def put(self, name: str, write: Content) -> str:
        """Put a whole file there and return its path; one that is there is left as it is."""
        with self._draft(name, write) as draft, suppress(FileExistsError):
            folder = self.node.descriptor
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        return self._whole(name)

    def replace(self, name: str, write: Content) -> str:
        """Put a whole file there in the place of the one that we put there before."""
        with suppress(FileNotFoundError):
            self._whole(name)
        with self._draft(name, write) as draft:
            folder = self.node.descriptor
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        return f"{self.path}/{name}"

    def _whole(self, name: str) -> str:
        """Return the path of a file of ours; raises `AccessRefused` for whatever else is there."""
        found = os.stat(name, dir_fd=self.node.descriptor, follow_symlinks=False)
        path = f"{self.path}/{name}"
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise AccessRefused(f"{path}: something else is in the way")
        return path

    @contextmanager
    def _draft(self, name: str, write: Content) -> Iterator[str]:
        """Yield the name of a whole file, synced and shared, that is gone afterwards."""
        self._tidy(name)
        draft = f".{name}.{secrets.token_hex(8)}.draft"
        descriptor = os.open(draft, _NEW, 0o600, dir_fd=self.node.descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                _share(f"/proc/self/fd/{descriptor}", self.person, self.group, READ | WRITE)
                os.fsync(descriptor)
            yield draft
        finally:
            with suppress(FileNotFoundError):  # It has been renamed.
                os.unlink(draft, dir_fd=self.node.descriptor)

    def _tidy(self, name: str) -> None:
        """Remove drafts of this file, left by a service that was killed: ours, by their names.

        Another agent that still is at work finds its own gone, and tries again.
        """
        draft = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{16}\.draft")
        folder = self.node.descriptor
        with os.scandir(self.node.proc_path) as entries:
            names = [one.name for one in islice(entries, _MOST_ENTRIES)]
        for left in filter(draft.fullmatch, names):
            with suppress(FileNotFoundError):  # Another one was here.
                found = os.stat(left, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                    os.unlink(left, dir_fd=folder)


@contextmanager
def opened(outer: Node, name: str, person: Person) -> Iterator[SharedFolder]:
    """Hold the folder of this name in `outer`. One that is not ours is left alone."""
    is_new = _made(outer, name)
    with outer.child(name) as node:
        if not node.is_folder or node.status.st_uid != os.geteuid():
            raise AccessRefused(f"{node.path}: something else is in the way")
        if not is_new:
            _require_same(outer, node, person)
        try:
            group = _shared(outer, node, person)
        except AccessRefused:
            if is_new:
                os.rmdir(name, dir_fd=outer.descriptor)
            raise
        yield SharedFolder(node=node, person=person, group=group)


def _made(outer: Node, name: str) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=outer.descriptor)
    except FileExistsError:
        return False
    except PermissionError as error:
        raise AccessRefused(f"{outer.path}: the service's account may not write it") from error
    return True


def _require_same(outer: Node, node: Node, person: Person) -> None:
    """Refuse a folder that we made for somebody else, and that was renamed to get at it."""
    entries = node.acl()
    if person.uid is not None and entries == acl.shared_with(person.uid, READ | WRITE | ENTER):
        return
    # With an ACL the bits of the group are its mask: they say nothing of who has the folder.
    is_plain = entries is None and node.status.st_gid == outer.status.st_gid
    by_group = is_plain and node.status.st_mode & stat.S_IRWXG
    # Who made it may have died before it was shared.
    if not by_group and any(Path(node.proc_path).iterdir()):
        raise AccessRefused(f"{node.path}: something else is in the way")


def _shared(outer: Node, node: Node, person: Person) -> int | None:
    """Give the person the folder: by an ACL, or else by the outer folder's group."""
    try:
        _share(node.proc_path, person, None, READ | WRITE | ENTER)
    except OSError as error:
        if error.errno not in _NO_ACL:
            raise
        group = _common_group(outer, person, error)
    else:
        return None
    _share(node.proc_path, person, group, READ | WRITE | ENTER)
    return group


def _common_group(outer: Node, person: Person, error: OSError) -> int:
    """Return the folder's own group if it will do.

    No other one will: who may see what stands in the folder is then who may see the results. And
    only where there are no ACLs at all: a mode that is changed would widen one that was inherited.
    """
    group = outer.status.st_gid
    ours = {os.getegid(), *os.getgroups()}
    if error.errno == errno.EOPNOTSUPP and group in person.gids and group in ours:
        return group
    raise AccessRefused(
        f"{outer.path}: results cannot be given to you there: its file system takes no ACL, "
        "and its group is not both yours and the service's"
    ) from error


def _share(path: str, person: Person, group: int | None, rights: int) -> None:
    """Give a person something of ours. `path` leads to a descriptor, and to nothing else."""
    if group is not None:
        os.chown(path, -1, group)
        Path(path).chmod(rights << 6 | rights << 3)
        return
    if person.uid is None:
        raise AccessRefused("results are given to local users only")
    os.setxattr(path, acl.ATTRIBUTE, acl.packed(acl.shared_with(person.uid, rights)))
