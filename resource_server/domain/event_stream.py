"""Server-sent events: a body that comes in parts, cut anywhere, becomes whole events again.

An event ends with a blank line. Its bytes are never changed here (WHATWG HTML, 9.2).
"""

from __future__ import annotations

import re

from resource_server.domain import errors

#: What a body of events says that it is.
CONTENT_TYPE = "text/event-stream"
#: Engines send events of a few megabytes at the most; what has no end is no event.
MOST_EVENT_BYTES = 64 * 1024 * 1024

#: The end of a line and a blank line, as everybody writes them: with or without carriage returns.
_BLANK_LINE = re.compile(rb"\n\r?\n")
#: So much of the end of a part may be the beginning of a blank line.
_OVERLAP = 2


class EventSplitter:
    """Puts the parts of one body together to whole events."""

    def __init__(self, *, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """What has come of an event that is not whole."""
        return bytes(self._rest)

    def feed(self, part: bytes) -> list[bytes]:
        """Return the events that became whole with this part, each with its blank line.

        Raises `AnswerTooLarge` if an event does not end.
        """
        if not self._rest:
            return self._cut(part, 0)
        searched = max(0, len(self._rest) - _OVERLAP)
        self._rest += part
        if _BLANK_LINE.search(self._rest, searched) is None:
            self._require_end()
            return []
        whole = bytes(self._rest)
        self._rest.clear()
        return self._cut(whole, searched)

    def _cut(self, whole: bytes, searched: int) -> list[bytes]:
        events: list[bytes] = []
        start = 0
        for blank in _BLANK_LINE.finditer(whole, searched):
            end = blank.end()
            events.append(whole[start:end])
            start = end
        if start < len(whole):
            self._rest += whole[start:]
            self._require_end()
        return events

    def _require_end(self) -> None:
        if len(self._rest) > self._most_bytes:
            raise errors.AnswerTooLarge(
                f"The engine sent an event of more than {self._most_bytes} bytes."
            )


def data_of(event: bytes) -> bytes:
    """Return an event's data: what stands in its lines `data:`, joined."""
    lines = (line.removesuffix(b"\r") for line in event.split(b"\n"))
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(data)
