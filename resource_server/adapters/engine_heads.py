"""What of the beginning of an engine's answer goes on to callers; sites are not trusted with it."""

from __future__ import annotations

from collections.abc import Mapping

#: A header longer than this is no header of an engine (characters).
HEADER_LENGTH = 200
#: What an engine says beside its body that a caller can act on.
PASSED_ON = frozenset({"retry-after"})
JSON = "application/json"


def is_final_status(status: int) -> bool:
    """Tell whether HTTP knows a status as the end of an exchange."""
    return 200 <= status <= 599  # noqa: PLR2004 # as HTTP has it


def content_type(headers: Mapping[str, str]) -> str:
    """Return what the body says it is, JSON if it says nothing."""
    return _header(headers, "content-type") or JSON


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that callers get."""
    return {name: value for name in PASSED_ON if (value := _header(headers, name))}


def _header(headers: Mapping[str, str], name: str) -> str:
    """Return a header, or nothing if it cannot be one."""
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) < HEADER_LENGTH else ""
