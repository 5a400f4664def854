"""An input file, opened once: its lines, one line again, and whether it is still the same file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from batch.errors import BatchError, InputRefused, InputUnreadable
from batch.line_error import LineError
from batch.splitting import LineSplitter, RawLine, WholeLines

#: Few reads of a parallel file system, and little memory.
_BLOCK = 1 << 20
#: A pipe without a writer, or a device, must not keep us waiting.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What `open` says of a name that no file can have, of a link put there just now, of a socket.
_WRONG_NAMES = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV})
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """What stays the same of a file that nobody touches."""

    device: int
    inode: int
    size: int
    modified_ns: int


class InputFile:
    """A regular file, read through one descriptor; several threads may read it.

    What is read is what there was when it was opened: bytes that came later are not looked at, and
    `require_unchanged` tells of them.
    """

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        """Take over an open descriptor, or raise `InputRefused` and leave it open.

        Without a path nobody can say whether another file has taken its place.
        """
        found = os.fstat(descriptor)
        _require_regular(found)
        self.path = path
        self._descriptor: int | None = descriptor
        self._opened = _identity(found)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a regular file, following no link in its last component, or raise `InputRefused`."""
        path = path.absolute()
        try:
            # Looked at first: to open a device can be an act.
            _require_regular(path.lstat())
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            raise _unopened(error) from error
        try:
            return cls(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened."""
        return self._opened.size

    def close(self) -> None:
        """Give the descriptor back. May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes from the start, in large blocks. `InputRefused` if it has shrunk."""
        offset = 0
        while offset < self.size:
            block = self._read(offset, min(_BLOCK, self.size - offset))
            yield block
            offset += len(block)

    def lines(self, *, most_line_bytes: int) -> Iterator[RawLine]:
        """Yield all lines; one that is much longer than `most_line_bytes` without its content."""
        splitter = LineSplitter(most_line_bytes)
        for block in self.blocks():
            for found in splitter.feed(block):
                if isinstance(found, WholeLines):
                    yield from found.lines()
                else:
                    yield found
        yield from splitter.finish()

    def line_at(self, offset: int, length: int) -> bytes:
        """Return the bytes of one line, as an index names it. `InputRefused` if they are gone."""
        content = b""
        while len(content) < length:
            content += self._read(offset + len(content), length - len(content))
        return content

    def require_unchanged(self) -> None:
        """Raise `InputRefused` (`input_changed`) if this is not what was opened any more."""
        with _read_errors():
            now = _identity(os.fstat(self._open_descriptor()))
            if now != self._opened:
                raise _changed(_difference(self._opened, now))
            if self.path is None:
                return
            try:
                there = self.path.lstat()
            except FileNotFoundError:
                raise _changed("it was removed or renamed") from None
        if (there.st_dev, there.st_ino) != (now.device, now.inode):
            raise _changed("another file has taken its place")

    def _read(self, offset: int, length: int) -> bytes:
        with _read_errors():
            found = os.pread(self._open_descriptor(), length, offset)
        if not found:
            raise _changed("it has become shorter")
        return found

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ValueError("the input file is closed")
        return self._descriptor


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputUnreadable(f"the input cannot be read: {error.strerror}") from error


def _identity(found: os.stat_result) -> _Identity:
    return _Identity(
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
    )


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "a device")
    raise _refused(f"the input is {kind}, not a regular file")


def _unopened(error: OSError | ValueError) -> BatchError:
    """Tell a name that is wrong from a file system that does not work."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return _refused("there is no such file")
        case PermissionError():
            return _refused("the input may not be read")
        case ValueError():
            return _refused("this is no file's name")
        case _ if error.errno in _WRONG_NAMES:
            return _refused(f"the input cannot be opened: {error.strerror}")
        case _:
            return InputUnreadable(f"the input cannot be opened: {error.strerror}")


def _difference(before: _Identity, now: _Identity) -> str:
    if now.size != before.size:
        return f"it had {before.size} bytes and has {now.size}"
    return "it was written to"


def _refused(message: str) -> InputRefused:
    return InputRefused(LineError(code="not_a_file", message=message))


def _changed(how: str) -> InputRefused:
    message = f"the input changed while it was read: {how}"
    return InputRefused(LineError(code="input_changed", message=message))
