#!/usr/bin/python3 -IS
"""Reads and writes files of one person for the site's service, as that person's own account.

The service starts this program by the command that the operators allow (`run_as` of site.yaml). It
is asked on its standard input and answers on its standard output, in frames; no path stands in an
argument. What it may do the kernel decides: it is the person. It follows no link, opens regular
files alone, writes over nothing but what stands in the batch's own folder under the name it was
told, and removes nothing but its own drafts.

It is one file that needs the standard library of Python 3.8 alone, so that a copy which belongs to
root will do, and is short enough to be read by whoever allows it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import struct
import sys
import zlib
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO, NoReturn

#: Changes when the two sides would not understand each other.
PROTOCOL = 1
#: Before each frame: its kind, the length and the CRC-32 of what follows.
HEAD = struct.Struct(">cII")
WORD, DATA = b"W", b"D"
#: The longest content of a frame, of either kind (bytes).
MOST_DATA = 1 << 20
#: The folder of a batch has two files; in one with thousands no more are looked at.
_MOST_ENTRIES = 1000
#: A service that died is not waited for longer (seconds).
_LONGEST_S = 6 * 3600
_FOLDER = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL)


def framed(kind: bytes, payload: bytes) -> bytes:
    """Return a frame."""
    return HEAD.pack(kind, len(payload), zlib.crc32(payload)) + payload


class Refused(Exception):
    """The person may not; `at` counts the components of the path up to the one in the way."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.why = why
        self.at = at


class Wire:
    """The two pipes. `EOFError` when the service wants nothing more, or is gone."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target

    def say(self, **values: object) -> None:
        """Say a word."""
        self._write(framed(WORD, json.dumps(values).encode()))

    def give(self, block: bytes) -> None:
        """Send content."""
        self._write(framed(DATA, block))

    def word(self) -> dict[str, Any]:
        """Return the next word."""
        kind, payload = self._frame()
        if kind != WORD:
            raise ValueError("content where a word belongs")
        told: dict[str, Any] = json.loads(payload)
        return told

    def take(self, file: BinaryIO) -> None:
        """Write content to a file, until a word says that it was all."""
        while True:
            kind, payload = self._frame()
            if kind == WORD:
                return
            file.write(payload)

    def _frame(self) -> tuple[bytes, bytes]:
        kind, length, wanted = HEAD.unpack(self._read(HEAD.size))
        if length > MOST_DATA:
            raise ValueError("a frame that is too long")
        payload = self._read(length)
        if zlib.crc32(payload) != wanted:
            raise ValueError("a frame that is damaged")
        return kind, payload

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            block = os.read(self._source, count - len(parts))
            if not block:
                raise EOFError
            parts += block
        return bytes(parts)

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._target, rest) :]


def entered(path: list[str]) -> int:
    """Hold the folder of these components; `O_PATH`, so that rights to enter will do."""
    here = os.open("/", _FOLDER)
    for at, name in enumerate(path, 1):
        above = here
        try:
            here = os.open(name, _FOLDER, dir_fd=above)
        except (OSError, ValueError) as error:
            _explain(error, above, name, at)
        finally:
            os.close(above)
    return here


def _explain(error: Exception, folder: int, name: str, at: int) -> NoReturn:
    """Raise why a component of a path was not opened."""
    if not isinstance(error, OSError):
        raise Refused("name", at) from error
    if error.errno == errno.ENOENT:
        raise Refused("absent", at) from error
    if error.errno in _CLOSED:
        raise Refused("enter", at - 1) from error
    if error.errno in _NO_NAME:
        raise Refused("name", at) from error
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        raise Refused("link" if stat.S_ISLNK(mode) else "not_folder", at) from error
    raise error


def regular(folder: int, name: str, at: int) -> int:
    """Open a regular file for reading; nothing else is opened, for that may do something."""
    try:
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, ValueError) as error:
        _explain(error, folder, name, at)
    mode = os.fstat(held).st_mode
    if not stat.S_ISREG(mode):
        raise Refused("link" if stat.S_ISLNK(mode) else "not_regular", at)
    try:
        # A lease of somebody else on it must not hold us up.
        return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise Refused("read", at) from error
    finally:
        os.close(held)


def read(wire: Wire, told: dict[str, Any]) -> None:
    """Say how large a file is, and send it when that is wanted."""
    path = told["path"]
    file = regular(entered(path[:-1]), path[-1], len(path))
    before = os.fstat(file)
    wire.say(said="held", size=before.st_size)
    wire.word()
    left = before.st_size
    while left:
        block = _whole(file, min(left, MOST_DATA))
        if not block:
            break
        wire.give(block)
        left -= len(block)
    wire.say(said="end", changed=bool(left) or _stamp(os.fstat(file)) != _stamp(before))


def _whole(file: int, count: int) -> bytes:
    """Return so many bytes, or none where the file ends before."""
    parts = bytearray()
    while len(parts) < count:
        block = os.read(file, count - len(parts))
        if not block:
            return b""
        parts += block
    return bytes(parts)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def fill(wire: Wire, told: dict[str, Any]) -> None:
    """Make the batch's own folder unless it is there, and put files into it as they come."""
    path, name = told["path"], told["name"]
    outer = entered(path)
    made(outer, name, len(path))
    at = len(path) + 1
    try:
        folder = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=outer
        )
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Refused("in_the_way", at) from error
        if error.errno in _CLOSED:
            raise Refused("write", at) from error
        raise
    if os.fstat(folder).st_uid != os.geteuid():
        raise Refused("in_the_way", at)
    wire.say(said="done")
    while True:
        put(wire, folder, wire.word(), at)


def made(outer: int, name: str, at: int) -> None:
    """Make a folder that nobody else may enter."""
    try:
        os.mkdir(name, 0o700, dir_fd=outer)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno in _CLOSED:
            raise Refused("write", at) from error
        if error.errno in _FULL:
            raise Refused("full", at) from error
        raise


def put(wire: Wire, folder: int, told: dict[str, Any], at: int) -> None:
    """Put a whole file into the folder, synced, in one step."""
    name = told["name"]
    draft = f".{name}.{os.urandom(8).hex()}.draft"
    try:
        tidy(folder, name)
        with os.fdopen(os.open(draft, _NEW, 0o600, dir_fd=folder), "wb") as file:
            wire.take(file)
            file.flush()
            os.fsync(file.fileno())
        _name(folder, draft, name, replaces=told["do"] == "replace")
        os.fsync(folder)
    except FileExistsError as error:
        raise Refused("in_the_way", at + 1) from error
    except OSError as error:
        if error.errno in _CLOSED:
            raise Refused("write", at) from error
        if error.errno in _FULL:
            raise Refused("full", at) from error
        raise
    finally:
        with suppress(FileNotFoundError):  # It has been renamed.
            os.unlink(draft, dir_fd=folder)
    wire.say(said="done")


def tidy(folder: int, name: str) -> None:
    """Remove drafts of this file, left by runs that were killed. By their names they are ours.

    One that still is at work finds its own gone, and is asked again.
    """
    draft = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{16}\.draft")
    with os.scandir(folder) as entries:
        names = [one.name for one in islice(entries, _MOST_ENTRIES)]
    for left in filter(draft.fullmatch, names):
        with suppress(FileNotFoundError):  # Another run was here.
            found = os.stat(left, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                os.unlink(left, dir_fd=folder)


def _name(folder: int, draft: str, name: str, *, replaces: bool) -> None:
    """Give a draft its name. What is there must be a file of the person's own.

    It is left as it is unless it is to be replaced; `FileExistsError` for whatever else is there.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        found = None
    if found is not None and (not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid()):
        raise FileExistsError(errno.EEXIST, "something else")
    if replaces:
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    elif found is None:
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)


_WORKS = {"read": read, "folder": fill}


def main() -> int:
    """Do what the service asks for; one thing, and then end."""
    os.umask(0o077)
    os.chdir("/")
    signal.alarm(_LONGEST_S)
    # What Python says of a fault may hold what it worked on.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    wire = Wire(0, 1)
    try:
        wire.say(said="hello", protocol=PROTOCOL, uid=os.geteuid())
        told = wire.word()
        _WORKS[told["do"]](wire, told)
    except Refused as refused:
        wire.say(said="refused", why=refused.why, at=refused.at)
    except EOFError:
        return 0  # The service has what it wanted.
    except OSError as error:
        wire.say(said="failed", errno=error.errno)
    return 0


if __name__ == "__main__":
    sys.exit(main())
