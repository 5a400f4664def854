"""Settings that are lists, written with commas."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def _words(value: object) -> object:
    """Read a comma-separated list."""
    if not isinstance(value, str):
        return value
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if value.strip() and not words:
        raise ValueError("names nothing")
    return words


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Numbers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_words)]
