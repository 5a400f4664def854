"""A header's value with options, as `form-data; name="file"`, read in one way or not at all."""

from __future__ import annotations

import re

from resource_server.domain import errors

#: No client writes more of either (bytes, options).
MAX_BYTES = 2048
MAX_OPTIONS = 10

_KIND = re.compile(rb"[ \t]*([\w/.+-]*)[ \t]*", re.ASCII)
#: One option; a quoted value ends at the first quote that is not escaped.
_OPTION = re.compile(
    rb';[ \t]*(?:([\w*-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^";]*)))?[ \t]*',
    re.ASCII | re.DOTALL,
)
_ESCAPED = re.compile(rb'\\(["\\])')


def read_options(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return what comes first, in small letters, and the options by their names.

    Raises `InvalidRequest` for what can be read in several ways: an option that is there twice, or
    a quote that is not closed.
    """
    kind = _KIND.match(value[:MAX_BYTES])
    if kind is None or len(value) > MAX_BYTES:
        raise _unreadable()
    options: dict[bytes, bytes] = {}
    at = kind.end()
    while at < len(value):
        found = _OPTION.match(value, at)
        if found is None or len(options) == MAX_OPTIONS:
            raise _unreadable()
        at = found.end()
        if found[1] is None:
            continue  # nothing between two semicolons, or after the last
        name = found[1].lower()
        if name in options:
            raise _unreadable()
        options[name] = _plain(found)
    return kind[1].lower(), options


def _plain(found: re.Match[bytes]) -> bytes:
    return found[3].strip() if found[2] is None else _ESCAPED.sub(rb"\1", found[2])


def _unreadable() -> errors.InvalidRequest:
    return errors.InvalidRequest(
        "A Content-Type or Content-Disposition header of the form cannot be read."
    )
