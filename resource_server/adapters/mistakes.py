"""What pydantic finds wrong with operators' documents and settings, in our words."""

from __future__ import annotations

from pydantic_core import ErrorDetails

_FIELDS = "must be fields with values of their own"
_LIST = "must be a list"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_TRUTH = "must be true or false"
_ID = "must be an id such as 01234567-89ab-cdef-0123-456789abcdef"
#: By pydantic's type of error; what is in neither list pydantic says well enough.
_WORDS = {
    "extra_forbidden": "unknown field",
    "missing": "is missing",
    "string_type": "must be text; numbers and dates need quotes to be text",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _FIELDS,
    "model_type": _FIELDS,
    "model_attributes_type": _FIELDS,
}
#: What is too short is empty: nothing that operators write must have two or more of something.
TOO_SHORT = "too_short"


def words(detail: ErrorDetails) -> str:
    """Return what is wrong, without the field's name and without the value."""
    if own := _WORDS.get(detail["type"]):
        return own
    if detail["type"] == TOO_SHORT:
        return "must not be empty"
    message = detail["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be", 1)
