"""Where each line of a validated file stands: sixteen bytes a line."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import accumulate

from batch.splitting import RawLine, WholeLines


@dataclass(frozen=True, slots=True, kw_only=True)
class LineIndex:
    """Offsets and lengths of the lines; line n stands at place n - 1."""

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("L"))

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, offset: int, length: int) -> None:
        """Note the next line."""
        self.offsets.append(offset)
        self.lengths.append(length)

    def take(self, found: RawLine | WholeLines) -> None:
        """Note lines as they are split; many together, for resuming waits for this."""
        if isinstance(found, RawLine):
            self.add(found.offset, found.length)
            return
        lengths = [len(content) for content in found.contents()]
        begins = accumulate((length + 1 for length in lengths), initial=found.offset)
        self.offsets.extend(begin for begin, _ in zip(begins, lengths, strict=False))
        if b"\r\n" in found.data:
            lengths = [len(content.removesuffix(b"\r")) for content in found.contents()]
        self.lengths.extend(lengths)

    def keep(self, total: int) -> None:
        """Forget the lines after the first `total`."""
        del self.offsets[total:]
        del self.lengths[total:]

    def place(self, number: int) -> tuple[int, int]:
        """Return offset and length of a line; `number` counts from 1."""
        return self.offsets[number - 1], self.lengths[number - 1]
