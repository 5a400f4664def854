"""What pydantic finds wrong with operators' documents and settings, in our words."""

from __future__ import annotations

from pydantic_core import ErrorDetails

#: By pydantic's type of error.
_WORDS = {"extra_forbidden": "unknown field", "missing": "is missing"}


def words(detail: ErrorDetails) -> str:
    """Return what is wrong, without the field's name and without the value."""
    if own := _WORDS.get(detail["type"]):
        return own
    message = detail["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be", 1)
