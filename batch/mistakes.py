"""The mistakes of one file: the first ones listed, all of them counted."""

from __future__ import annotations

from collections.abc import Iterable

from batch.line_error import LineError

#: So many are listed.
MOST_LISTED = 100


class Mistakes:
    """Takes mistakes in the order of the file."""

    def __init__(self) -> None:
        self.first: list[LineError] = []
        self.count = 0

    def add(self, errors: Iterable[LineError]) -> None:
        """Note mistakes."""
        for error in errors:
            self.count += 1
            if len(self.first) < MOST_LISTED:
                self.first.append(error)
