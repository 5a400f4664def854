"""How one field of a wire object is read: it is what it should be, or a `ContractError`."""

from __future__ import annotations

import reprlib
from typing import Any, TypeAlias

from compute_functions.contract.errors import ContractError, UnsupportedProtocol

PROTOCOL_VERSION = 1

JsonObject: TypeAlias = dict[str, Any]

#: Times and durations are far smaller; what is not has no meaning here.
NUMBER_LIMIT = 1e15
#: So much of a value that is not understood is quoted in an error (characters).
QUOTED_LENGTH = 200
# Made once: `int | float` would be made for every number of every request.
_NUMBERS = (int, float)

_QUOTER = reprlib.Repr()
_QUOTER.maxstring = QUOTED_LENGTH


def versioned(wire: object) -> JsonObject:
    """Return the object in `wire` if it is of this version, or raise `ContractError`."""
    if not isinstance(wire, dict):
        raise ContractError("not a JSON object")
    if wire.get("v") != PROTOCOL_VERSION:
        version = quoted(wire.get("v"))
        raise UnsupportedProtocol(f"protocol version {version}, not {PROTOCOL_VERSION}")
    return wire


def text(values: JsonObject, name: str) -> str:
    """Return a string that is also text."""
    value = values.get(name)
    if not isinstance(value, str):
        raise ContractError(f"{name} is not a string")
    encoded(value, name)
    return value


def purpose(values: JsonObject) -> str:
    """Return what an instance is for: nothing for callers, as who was not updated yet means it."""
    return text({"purpose": ""} | values, "purpose")


def encoded(value: str, name: str) -> bytes:
    """Return the UTF-8 of `value`; JSON can carry halves of characters, which have none."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise ContractError(f"{name} holds half a character") from None


def number(values: JsonObject, name: str) -> float:
    """Return a number that a time or a duration can be."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise ContractError(f"{name} is not a number")
    # NaN is not less than anything.
    if not abs(value) < NUMBER_LIMIT:
        raise ContractError(f"{name} is not a number within reason")
    return float(value)


def whole_number(values: JsonObject, name: str) -> int:
    """Return a number without a fraction, and written without one."""
    if not isinstance(values.get(name), int):
        raise ContractError(f"{name} is not a whole number")
    return int(number(values, name))


def count(values: JsonObject, name: str, *, most: float = NUMBER_LIMIT) -> int:
    """Return a whole number from 0 to `most`."""
    found = whole_number(values, name)
    if not 0 <= found <= most:
        raise ContractError(f"{name} is not between 0 and {most:g}")
    return found


def duration(values: JsonObject, name: str) -> float:
    """Return a number of seconds that is not below zero."""
    found = number(values, name)
    if found < 0:
        raise ContractError(f"{name} is less than nothing")
    return found


def optional_number(values: JsonObject, name: str) -> float | None:
    """Return a number as `number` does, or None where it is null."""
    return None if present(values, name) is None else number(values, name)


def optional_count(values: JsonObject, name: str) -> int | None:
    """Return a number as `count` does, or None where it is null."""
    return None if present(values, name) is None else count(values, name)


def present(values: JsonObject, name: str) -> object:
    """Return whatever the field holds, null included."""
    if name not in values:
        raise ContractError(f"{name} is missing")
    return values[name]


def flag(values: JsonObject, name: str) -> bool:
    """Return true or false."""
    value = values.get(name)
    if not isinstance(value, bool):
        raise ContractError(f"{name} is neither true nor false")
    return value


def json_object(wire: object, what: str) -> JsonObject:
    """Return an object, or raise `ContractError` about `what`."""
    if not isinstance(wire, dict):
        raise ContractError(f"{what} is not an object")
    return wire


def items(values: JsonObject, name: str, *, most: int) -> list[object]:
    """Return a list of at most so many items."""
    value = values.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise ContractError(f"{name} is not a list of at most {most}")
    return value


def headers(values: JsonObject, name: str) -> dict[str, str]:
    """Return HTTP headers, each of which is one line."""
    value = values.get(name)
    if not isinstance(value, dict):
        raise ContractError(f"{name} is not an object")
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ContractError("a header is not a string")
    for line in (*value, *value.values()):
        if not line.isprintable():
            encoded(line, "a header")  # Half a character is not printable either.
            raise ContractError("a header holds a line break or another control character")
    return value


def quoted(value: object) -> str:
    """Return how a value looks, cut: it may be huge, or nested deeper than `repr` can go."""
    return _QUOTER.repr(value)[:QUOTED_LENGTH]
