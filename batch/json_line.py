"""One line's bytes read as one JSON object, so that no two readers can read different things."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from math import isinf
from typing import Any, NoReturn

#: An object as `json` reads it. What stands in it is looked at where it is used.
JsonObject = dict[str, Any]
Pairs = list[tuple[str, object]]
_Container = JsonObject | list[Any]

MOST_NESTED = 100
#: Objects and lists in one line. A short line can have millions of them, and each takes a hundred
#: bytes of memory, and the collector's time.
MOST_PARTS = 200_000
_TOO_DEEP = f"the line is nested more than {MOST_NESTED} deep"
#: Half a character, which JSON can spell and UTF-8 cannot.
_HALF = re.compile("[\ud800-\udfff]")
#: A text with all its escapes; the last one may have no end. It never goes back over what it took.
_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class NotJson(ValueError):
    """The line is no JSON object; `cut` says whether more bytes might have made it one."""

    def __init__(self, message: str, *, code: str = "invalid_json", cut: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.cut = cut


def read_object(content: bytes) -> JsonObject:
    """Return the object that a line is, or raise `NotJson`."""
    text = _decoded(content)
    if _parts(text) > MOST_PARTS and _parts(_TEXT.sub("", text)) > MOST_PARTS:
        raise NotJson(f"the line has more than {MOST_PARTS} objects and lists")
    value = _parsed(text)
    if _parts(text) > MOST_NESTED and _too_deep(value):
        raise NotJson(_TOO_DEEP)
    if "\\u" in text and _HALF.search(json.dumps(value, ensure_ascii=False)) is not None:
        raise NotJson("a \\u escape stands for half a character")
    return value


def strict_decoder(pairs: Callable[[Pairs], JsonObject] | None = None) -> json.JSONDecoder:
    """Return a decoder that takes only numbers that JSON knows and a double can hold."""
    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_float=_finite, parse_constant=_no_constant
    )


def _decoded(content: bytes) -> str:
    if content.startswith(_UTF_16):
        raise NotJson("this is UTF-16; UTF-8 is needed", code="invalid_encoding")
    if b"\0" in content:
        where = content.index(b"\0") + 1
        raise NotJson(f"byte {where} of the line is NUL", code="invalid_encoding")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8"
        cut = error.end == len(content)
        raise NotJson(message, code="invalid_encoding", cut=cut) from None


def _parsed(text: str) -> JsonObject:
    #: The pairs of the object that closed last: in the end, the outermost.
    last: Pairs = []

    def pairs(found: Pairs) -> JsonObject:
        nonlocal last
        last = found
        return dict(found)

    value = _decoded_json(text, strict_decoder(pairs))
    if not isinstance(value, dict):
        raise NotJson(f"the line is {_kind(value)}, not a JSON object")
    if len(value) != len(last):
        ((repeated, _),) = Counter(key for key, _ in last).most_common(1)
        raise NotJson(f"the key {repeated[:100]!r} stands there twice")
    return value


def _decoded_json(text: str, decoder: json.JSONDecoder) -> object:
    try:
        value: object = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"no JSON: {error.msg} (character {error.pos + 1})", cut=True) from None
    except NotJson:
        raise
    except ValueError:
        # The only other one: Python's bound for the digits of a whole number.
        raise NotJson("a number has too many digits") from None
    except RecursionError:
        raise NotJson(_TOO_DEEP) from None
    return value


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise NotJson("a number is too large for a double")
    return value


def _no_constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no JSON")


def _parts(text: str) -> int:
    return text.count("{") + text.count("[")


def _too_deep(value: JsonObject) -> bool:
    """Walk level by level: a walk by recursion would have the fault that it looks for."""
    level: list[_Container] = [value]
    for _ in range(MOST_NESTED):
        level = [child for one in level for child in _containers(one)]
        if not level:
            return False
    return True


def _containers(value: _Container) -> Iterator[_Container]:
    """Yield the objects and lists right inside of one."""
    children = value.values() if isinstance(value, dict) else value
    yield from (child for child in children if isinstance(child, dict | list))


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
