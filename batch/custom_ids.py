"""Which `custom_id` stands in which line: a few words of memory each, however long they are."""

from __future__ import annotations

from batch.input_file import InputFile
from batch.json_line import read_object
from batch.line_index import LineIndex

#: So many lines are read again to be sure. A file of long lines that are all the same would take
#: hours; after so many the hashes (64 bits, keyed by the process) are proof enough.
_MOST_READ_AGAIN = 100


class CustomIds:
    """Remembers the hash of each `custom_id`; of two that are alike it reads the earlier again."""

    def __init__(self, file: InputFile, index: LineIndex) -> None:
        self._file = file
        self._index = index
        self._lines: dict[int, int] = {}
        #: The few whose hash another one has.
        self._others: dict[str, int] = {}
        self._read_again = 0

    def new(self, custom_id: str, number: int) -> bool:
        """Note a line's `custom_id`, and return whether its hash has not been there before."""
        return self._lines.setdefault(hash(custom_id), number) == number

    def first_with(self, custom_id: str, number: int) -> int:
        """Note a line's `custom_id`, and return the first line that has it: mostly this one."""
        first = self._lines.setdefault(hash(custom_id), number)
        if first == number or self._stands_in(first, custom_id):
            return first
        return self._others.setdefault(custom_id, number)

    def _stands_in(self, number: int, custom_id: str) -> bool:
        self._read_again += 1
        if self._read_again > _MOST_READ_AGAIN:
            return True
        content = self._file.line_at(*self._index.place(number))
        return bool(read_object(content)["custom_id"] == custom_id)
