"""What reads along on one stream; ordinary events are not parsed, and pass byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from resource_server.domain import event_stream
from resource_server.domain.inference import Usage
from resource_server.ports import EventUsageReader

#: How lines begin that hold no field: they are comments, or empty.
_NO_FIELD = (b":", b"\r", b"\n", b"")


class EventReader(Protocol):
    """Takes the events of one stream, in their order.

    `count` is how many have come, without comments. `complete` tells whether the engine said that
    the answer is whole. `error` is the event with which it said that it failed: the last one that
    counts.
    """

    count: int
    complete: bool
    error: bytes | None

    def take(self, events: Iterable[bytes]) -> bytes:
        """Return of these events what the caller gets: up to the end, however they were cut."""

    def usage(self) -> Usage | None:
        """Return what the engine has said so far about the answer's cost."""


def is_comment(event: bytes) -> bool:
    """Tell whether there is nothing in an event but comments, which clients pass over."""
    return event[:1] in _NO_FIELD and all(line[:1] in _NO_FIELD for line in event.split(b"\n"))


def usage_of(events: Iterable[bytes], read: EventUsageReader) -> Usage | None:
    """Return what several events say together about one answer's cost."""
    total: Usage | None = None
    for event in events:
        said = read(event_stream.data_of(event))
        if said is not None:
            total = said if total is None else total.joined(said)
    return total
