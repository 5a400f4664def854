"""The tokens of the mock engine: each says whose it is, its number, and when it was sent."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: What a request says of itself, so that its tokens can be told from all others.
TAG = "stream {tag}"
ASKED_TAG = re.compile(rb"stream (\d+)")
#: A token's text: tag, number, nanoseconds on the clock that all processes of a machine share.
TOKEN = b"%d:%d:%d "
#: A token within an event, however its JSON was written.
SEEN_TOKEN = re.compile(rb'"content":\s*"(\d+):(\d+):(\d+) "')
DONE = b"data: [DONE]"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of some streams, token for token."""

    streams: int = 0
    expected: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    #: Streams that ended without the engine's end mark, or with an error.
    broken: int = 0
    #: Streams that went on for so long that nobody waited any more; their rest is not lost.
    late: int = 0

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def faults(self) -> int:
        """How much went wrong."""
        return self.lost + self.doubled + self.foreign + self.broken + self.late


@dataclass(slots=True)
class Received:
    """The tokens of one stream, as they come."""

    tag: int
    expected: int
    numbers: list[int] = field(default_factory=list)
    foreign: int = 0
    done: bool = False
    given_up: bool = False

    def take(self, tag: int, number: int) -> None:
        """Note a token."""
        if tag != self.tag or number >= self.expected:
            self.foreign += 1
        else:
            self.numbers.append(number)

    def tally(self) -> Tally:
        """Say what came of the stream, which has ended; with tokens out of order it is broken."""
        different = len({number for number in self.numbers if number < self.expected})
        in_order = self.numbers == sorted(self.numbers)
        # Of a stream that was given up, the last token that came tells how many had been sent.
        sent = max(self.numbers, default=-1) + 1 if self.given_up else self.expected
        return Tally(
            streams=1,
            expected=sent,
            lost=sent - different,
            doubled=len(self.numbers) - different,
            foreign=self.foreign,
            broken=0 if in_order and (self.done or self.given_up) else 1,
            late=1 if self.given_up else 0,
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of all is not above; values are sorted."""
    if not values:
        return math.nan
    return values[max(0, math.ceil(share * len(values)) - 1)]
