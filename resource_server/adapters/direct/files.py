"""The files that a direct target names: its key, and the certificates of both sides."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TypeAlias

from resource_server.domain.catalog import DirectTarget

#: When each file was written, to see that one was replaced.
Fingerprint: TypeAlias = tuple[tuple[int, int], ...]


class FilesUnusable(Exception):
    """A file is missing, or it or a variable is not what it should be; for operators."""


def fingerprint(target: DirectTarget) -> Fingerprint:
    """Return a value that changes when one of the files does, or raise `FilesUnusable`."""
    names = (
        *(target.api_key_file, target.ca_file),
        *(target.client_certificate, target.client_key),
    )
    try:
        stats = [Path(name).stat() for name in names if name]
    except OSError as error:
        raise FilesUnusable(f"{error.filename}: {error.strerror}") from error
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def api_key(target: DirectTarget) -> str:
    """Return the key; nothing if there is none."""
    if not target.api_key_file:
        return ""
    try:
        key = Path(target.api_key_file).read_text(encoding="ascii").strip()
    except OSError as error:
        raise FilesUnusable(f"{target.api_key_file}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not as a cause: its text repeats the file.
        raise FilesUnusable(f"{target.api_key_file} holds no key") from None
    if not key or not key.isprintable():
        raise FilesUnusable(f"{target.api_key_file} holds no key")
    return key


def tls(target: DirectTarget) -> ssl.SSLContext:
    """Return what is trusted, and what we show where a client certificate is wanted."""
    try:
        context = ssl.create_default_context(cafile=target.ca_file or None)
        if target.client_certificate:
            context.load_cert_chain(target.client_certificate, target.client_key)
    except OSError as error:  # `ssl.SSLError` is one, and names no file
        named = [target.ca_file, target.client_certificate, target.client_key]
        files = ", ".join(name for name in named if name)
        raise FilesUnusable(f"{files or 'the authorities'}: {error}") from error
    return context


def unusable(target: DirectTarget) -> str:
    """Return what is wrong with a target's files; nothing if they are fit."""
    try:
        api_key(target)
        tls(target)
    except FilesUnusable as problem:
        return str(problem)
    return ""
