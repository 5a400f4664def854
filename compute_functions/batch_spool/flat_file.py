"""A small value in a file of the spool: one JSON object, with a field for each of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from compute_functions.batch_spool import sound_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _T = TypeVar("_T", bound=DataclassInstance)
else:
    _T = TypeVar("_T")


def read(path: Path, kind: type[_T]) -> _T | None:
    """Return what is there; None without a file. Fields of later versions are passed over.

    A file that lacks a field which every version had, or has one of another type, is set aside.
    """
    return sound_file.read(path, partial(parse, kind))


def parse(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """Return the value; `TypeError` for an object that is none."""
    types = _types(kind)
    known = {field.name for field in fields(kind)} & values.keys()
    for name in known:
        if not _fits(values[name], types[name]):
            raise TypeError(f"{name} is of another type")
    return kind(**{name: values[name] for name in known})


@lru_cache(maxsize=16)
def _types(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, wanted: Any) -> bool:  # noqa: ANN401 # an annotation, also a union
    if isinstance(value, bool):
        return wanted is bool
    if wanted is int:
        return isinstance(value, int) and value >= 0
    if wanted is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, wanted)
