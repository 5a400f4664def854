"""Standard output and error: any text may be written, and nobody has to be there to read it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from batch.errors import DiskFailed


class Unread(Exception):
    """Whoever read what is written has left, as `head` does."""


def prepare() -> None:
    """Have both streams take any text, also one that was closed before the program began."""
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def write(stream: TextIO, text: str) -> None:
    """Write text at once, or raise `Unread` or `DiskFailed`: no `OSError`, which networks have."""
    with told_apart():
        stream.write(text)
        stream.flush()


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise `Unread` or `DiskFailed` for what fails where output is written."""
    try:
        yield
    except BrokenPipeError as error:
        raise Unread from error
    except OSError as error:
        raise DiskFailed(f"the output cannot be written: {error.strerror}") from error


def silence(stream: TextIO) -> None:
    """Have all that is still to be written to a stream go nowhere."""
    # A stream without a descriptor has nothing that could fail later.
    with suppress(io.UnsupportedOperation):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - until the end
    if isinstance(stream, io.TextIOWrapper):
        # Names of files need not be text, and not every terminal has all letters.
        stream.reconfigure(errors="backslashreplace")
    return stream
