"""Text of others, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text that cannot move a terminal's cursor."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
