"""What the engine said, made into what is recorded: JSON on one line, use, and a problem if any."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from batch import use
from batch.journal.record import Problem
from batch.use import Use

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: So much of an engine's own words is passed on (characters).
_MOST_WORDS = 2_000
_NO_USE = Use()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A reply's body: `values` if it is a JSON object, and `raw`, which is JSON on one line.

    `use` are the tokens that it tells.
    """

    raw: bytes
    values: Mapping[str, object] | None
    use: Use

    def problem(self, otherwise: Problem) -> Problem:
        """Return the problem in the engine's own words: in OpenAI's form, or in FastAPI's."""
        error = None if self.values is None else self.values.get("error", self.values)
        if not isinstance(error, Mapping):
            return otherwise
        message = error.get("message", _detail(error.get("detail")))
        code = next((error[name] for name in ("code", "type") if _is_code(error.get(name))), None)
        return Problem(
            code=code if isinstance(code, str) else otherwise.code,
            message=message[:_MOST_WORDS] if isinstance(message, str) else otherwise.message,
        )


def read(content: bytes) -> Body:
    """Read a reply's body. What is no JSON is dropped: a record holds JSON."""
    try:
        found = _DECODER.decode(content.decode())
    except (ValueError, RecursionError):
        return NOTHING
    raw = content
    if b"\n" in content or b"\r" in content:
        # Line ends between tokens: within strings they are escaped.
        raw = content.replace(b"\r", b" ").replace(b"\n", b" ")
    if not isinstance(found, dict):
        return Body(raw=raw, values=None, use=_NO_USE)
    return Body(raw=raw, values=found, use=use.of_answer(found))


def _detail(detail: object) -> str | None:
    """Return what FastAPI says, as infinity does: a text, or the first field that is wrong."""
    match detail:
        case [{"msg": str(said), "loc": [_, *_] as place}, *_]:
            return f"{said} ({'.'.join(map(str, place))})"
        case [{"msg": str(said)}, *_] | str(said):
            return said
        case _:
            return None


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


#: Made once: `json.loads` would make one for each answer.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
#: The body of a reply that there was not.
NOTHING = Body(raw=b"null", values=None, use=_NO_USE)
