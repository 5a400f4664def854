"""Where a chunk of a streamed completion says what was used so far, found without reading it all.

A chunk is one event whose data is a JSON object. Within a JSON string every quote is escaped, so
that `"usage"` in the bytes is nearly always the name of a member; of which object, its surroundings
tell. JSON lets the name be written in other ways too, with space before its colon, or letters by
their numbers: a chunk that may hold one of these is looked through as a whole.
"""

from __future__ import annotations

import json
import re

from resource_server.domain import event_stream

_NAME = b'"usage"'
#: What each ASCII character begins with that is written by its number.
_ESCAPE = b"\\u00"
_ANY_SPELLING = re.compile(rb'"(?:u|\\u0075)(?:s|\\u0073)(?:a|\\u0061)(?:g|\\u0067)(?:e|\\u0065)"')
_BACKSLASH = ord("\\")
#: What stands within braces, with no others in it: strings there are short and plain.
_INSIDE = rb'[^{}"\\]*(?:"[^{}"\\]*"[^{}"\\]*)*'
_OBJECT = rb"\{" + _INSIDE + rb"(?:\{" + _INSIDE + rb"\}" + _INSIDE + rb")*\}"
_SCALAR = rb'(?:"[^"\\]*"|\[[^\]\["{}]*\]|[^\s,"{}\[\]]+)'
#: The usage, and behind it nothing but plain members and the end of the chunk itself.
_LAST_MEMBERS = re.compile(
    rb'"usage"\s*:\s*(?P<usage>'
    + _OBJECT
    + rb')(?:\s*,\s*"[^"\\]*"\s*:\s*'
    + _SCALAR
    + rb")*\s*\}\s*\Z"
)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_VALUE = re.compile(rb"\s*:\s*(?=\{)")
#: Behind a name: a value that is an object, perhaps in the event's next line.
_AN_OBJECT = re.compile(rb"(?:\s|(?<=\n)data:)*:(?:\s|(?<=\n)data:)*\{")
_DATA = re.compile(rb"^data:", re.MULTILINE)
_SECOND_LINE = b"\ndata:"
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_COMMA_BEHIND = re.compile(rb"\s*,\s*")
_SPACE = b" \t\r\n"
_COMMA = ord(",")


def in_one_line(chunk: bytes) -> bytes:
    """Return a chunk with its data in one line, as nearly all are: the same JSON."""
    if _SECOND_LINE not in chunk:
        return chunk
    others = [line for line in chunk.split(b"\n") if not line.startswith(b"data:")]
    # A JSON string holds no line break, so that each of them is but space.
    data = event_stream.data_of(chunk).replace(b"\n", b" ")
    return b"data: " + data + b"\n" + b"\n".join(others)


def usage_member(chunk: bytes) -> tuple[int, int] | None:
    """Return where the chunk's own member `usage` stands, with the comma that joins it.

    None if it has none, or one that is no object. The numbers are for the chunk in one line.
    """
    at = chunk.rfind(_NAME)
    if at < 0:
        # The other spellings need this.
        return _searched(chunk) if _ESCAPE in chunk else None
    found = _LAST_MEMBERS.match(chunk, at)
    if found is None or chunk[at - 1] == _BACKSLASH or _SECOND_LINE in chunk:
        return _searched(chunk)
    return _with_comma(chunk, at, found.end("usage"))


def without(chunk: bytes, member: tuple[int, int]) -> bytes:
    """Return a chunk in one line without this member, and any further one of this name.

    Every other byte stays.
    """
    found: tuple[int, int] | None = member
    while found is not None:
        chunk = chunk[: found[0]] + chunk[found[1] :]
        found = usage_member(chunk) if _NAME in chunk or _ESCAPE in chunk else None
    return chunk


def has_no_choices(chunk: bytes) -> bool:
    """Tell whether a chunk is one that carries nothing but numbers."""
    may_have_none = _NO_CHOICES.search(chunk) or _ESCAPE in chunk or _SECOND_LINE in chunk
    if not may_have_none:
        return False
    try:
        said = json.loads(event_stream.data_of(chunk))
    except (ValueError, RecursionError):
        # Rather shown than lost.
        return False
    return isinstance(said, dict) and said.get("choices") == []


def _searched(chunk: bytes) -> tuple[int, int] | None:
    """Look through the whole chunk for its own member, whatever else is in it."""
    spellings = _ANY_SPELLING.finditer(chunk)
    # Many engines say `"usage":null` in each chunk: not worth a look at all of it.
    if not any(_AN_OBJECT.match(chunk, spelling.end()) for spelling in spellings):
        return None
    return _own_member(in_one_line(chunk))


def _own_member(chunk: bytes) -> tuple[int, int] | None:
    line = _DATA.search(chunk)
    if line is None:
        return None
    end = chunk.find(b"\n", line.end())
    depth = 0
    began: int | None = None
    for token in _TOKEN.finditer(chunk, line.end(), len(chunk) if end < 0 else end):
        text = token.group()
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if began is not None and depth == 1:
                return _with_comma(chunk, began, token.end())
        elif depth == 1 and _ANY_SPELLING.fullmatch(text) and _VALUE.match(chunk, token.end()):
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
