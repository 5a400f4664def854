"""Reads along on events with names, as OpenAI's Responses and Anthropic's Messages have them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from resource_server.domain.inference import Usage
from resource_server.ports import EventUsageReader
from resource_server.services.events.content import at_least, has_content
from resource_server.services.events.reader import is_comment, usage_of

_ERROR = b"error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Which names of events mean something here; `typed` finds them in data without a name.

    `delta` is how the names of those end that carry a piece of the answer.
    """

    ends: frozenset[bytes]
    with_usage: frozenset[bytes]
    delta: bytes
    typed: re.Pattern[bytes]


_WHOLE_RESPONSE = frozenset({b"response.completed", b"response.incomplete", b"response.failed"})
RESPONSES = Names(
    ends=_WHOLE_RESPONSE,
    with_usage=_WHOLE_RESPONSE,
    delta=b".delta",
    typed=re.compile(
        rb'"type"\s*:\s*"(error|response\.(?:completed|incomplete|failed|[a-z_.]{1,80}\.delta))"'
    ),
)
MESSAGES = Names(
    ends=frozenset({b"message_stop"}),
    with_usage=frozenset({b"message_start", b"message_delta"}),
    delta=b"content_block_delta",
    typed=re.compile(rb'"type"\s*:\s*"(error|message_(?:start|delta|stop)|content_block_delta)"'),
)


class NamedEventReader:
    """An `EventReader` of named events; the caller gets all of them as they are."""

    def __init__(self, names: Names, read_usage: EventUsageReader) -> None:
        self.count = 0
        self.complete = False
        self.error: bytes | None = None
        self._names = names
        self._read_usage = read_usage
        self._with_usage: dict[bytes, bytes] = {}
        self._with_content = 0

    def take(self, events: Iterable[bytes]) -> bytes:
        """Return the events; behind the end or an error, nothing."""
        shown = []
        for event in events:
            if self.complete or self.error is not None:
                break
            if not is_comment(event):
                self._look_at(event)
            shown.append(event)
        return b"".join(shown)

    def usage(self) -> Usage | None:
        """Return what the events with usage say together.

        As long as the answer is not whole, the events with content count at least.
        """
        said = usage_of(self._with_usage.values(), self._read_usage)
        counted = at_least(self._with_content)
        if said is None or counted is None:
            return said or counted
        return said if self.complete else said.joined(counted)

    def _look_at(self, event: bytes) -> None:
        """Note what an event means."""
        self.count += 1
        names, name = self._names, self._name_of(event)
        if name.endswith(names.delta):
            self._with_content += has_content(event)
            return
        if name in names.with_usage:
            self._with_usage[name] = event
        if name in names.ends:
            self.complete = True
        elif name == _ERROR:
            self.error = event

    def _name_of(self, event: bytes) -> bytes:
        if event.startswith(b"event:"):
            return event[6 : event.find(b"\n")].strip()
        found = self._names.typed.search(event)
        return found[1] if found else b""
