"""Where a chunk of a streamed completion says what was used so far, found without reading it all.

A chunk is one event whose data is a JSON object. Within a JSON string every quote is escaped, so
that `"usage":` in the bytes is always the name of a member; of which object, its surroundings tell.
"""

from __future__ import annotations

import re

_NAME = b'"usage":'
#: What stands within braces, with no others in it: strings there are short and plain.
_INSIDE = rb'[^{}"\\]*(?:"[^{}"\\]*"[^{}"\\]*)*'
_OBJECT = rb"\{" + _INSIDE + rb"(?:\{" + _INSIDE + rb"\}" + _INSIDE + rb")*\}"
_SCALAR = rb'(?:"[^"\\]*"|\[[^\]\["{}]*\]|[^\s,"{}\[\]]+)'
#: The usage, and behind it nothing but plain members and the end of the chunk itself.
_LAST_MEMBERS = re.compile(
    rb'"usage":\s*(?P<usage>'
    + _OBJECT
    + rb')(?:\s*,\s*"[^"\\]*"\s*:\s*'
    + _SCALAR
    + rb")*\s*\}\s*\Z"
)
_AN_OBJECT = re.compile(rb'"usage"\s*:\s*\{')
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_VALUE = re.compile(rb"\s*:\s*(?=\{)")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_COMMA_BEHIND = re.compile(rb"\s*,\s*")
_SPACE = b" \t\r\n"
_COMMA = ord(",")


def usage_member(chunk: bytes) -> tuple[int, int] | None:
    """Return where the chunk's own member `usage` stands, with the comma that joins it.

    None if it has none, or one that is no object.
    """
    at = chunk.rfind(_NAME)
    if at < 0:
        return None
    found = _LAST_MEMBERS.match(chunk, at)
    if found is None:
        # Many engines say `"usage":null` in each chunk: not worth a look at all of it.
        return _searched(chunk) if _AN_OBJECT.search(chunk) else None
    return _with_comma(chunk, at, found.end("usage"))


def without(chunk: bytes, member: tuple[int, int]) -> bytes:
    """Return the chunk without this member; every other byte stays."""
    return chunk[: member[0]] + chunk[member[1] :]


def has_no_choices(chunk: bytes) -> bool:
    """Tell whether a chunk is one that carries nothing but numbers."""
    return b'"choices":[]' in chunk or _NO_CHOICES.search(chunk) is not None


def _searched(chunk: bytes) -> tuple[int, int] | None:
    """Look through the whole chunk for its own member, whatever else is in it."""
    depth = 0
    began: int | None = None
    for token in _TOKEN.finditer(chunk):
        text = token.group()
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if began is not None and depth == 1:
                return _with_comma(chunk, began, token.end())
        elif depth == 1 and text == b'"usage"' and _VALUE.match(chunk, token.end()):
            began = token.start()
    return None


def _with_comma(chunk: bytes, start: int, end: int) -> tuple[int, int]:
    before = start
    while before > 0 and chunk[before - 1] in _SPACE:
        before -= 1
    if before > 0 and chunk[before - 1] == _COMMA:
        return before - 1, end
    behind = _COMMA_BEHIND.match(chunk, end)
    return start, behind.end() if behind else end
