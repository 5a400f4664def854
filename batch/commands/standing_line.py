"""One line of a terminal that is written again and again, and a reason that may need its own."""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

from batch.commands import output

_CLEAR = "\r\x1b[K"
#: Where a terminal does not say how wide it is.
_COLUMNS = 80


class StandingLine:
    """The last line of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = False
        self._reason = ""

    def show(self, text: str, reason: str = "") -> None:
        """Show a text in its place. A reason that does not fit behind it is said once, above."""
        columns, fits = self._columns() - 1, joined(text, reason)
        if width(fits) > columns:
            if reason and reason != self._reason:
                self.say(reason)
            fits = text
        self._reason = reason
        self._shown = True
        output.write(self._stream, _CLEAR + cut(fits, columns))

    def say(self, words: str) -> None:
        """Write lines that stay, in the place of the one that does not."""
        self.clear()
        output.write(self._stream, f"{words}\n")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            output.write(self._stream, _CLEAR)

    def leave(self) -> None:
        """Let the line stay for good."""
        if self._shown:
            self._shown = False
            output.write(self._stream, "\n")

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except OSError:
            return _COLUMNS


def joined(text: str, reason: str) -> str:
    """Return both as one line."""
    return f"{text}  {reason}" if reason else text


def cut(text: str, columns: int) -> str:
    """Return as much of a text as so many columns of a terminal hold."""
    while width(text) > columns:
        text = text[:-1]
    return text


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_width, text))


def _width(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
