"""Reads along on OpenAI's chunks, and takes out the usage that only the gateway asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from resource_server.domain import chunk_usage
from resource_server.domain.inference import Usage
from resource_server.ports import EventUsageReader
from resource_server.services.events.content import at_least, has_content
from resource_server.services.events.reader import is_comment, usage_of
from resource_server.services.stream_options import UsageView

#: What is looked for first, which is cheap; few other events have it in them.
_MAY_BE_DONE = b"[DONE]"
_MAY_BE_ERROR = b'"error"'
_DONE = re.compile(rb"^data:[ ]*\[DONE\]", re.MULTILINE)
_ERROR = re.compile(rb'^data:\s*\{\s*"error"\s*:\s*[{"]', re.MULTILINE)


class ChunkReader:
    """An `EventReader` of chunks."""

    def __init__(self, view: UsageView, read_usage: EventUsageReader) -> None:
        self.count = 0
        self.complete = False
        self.error: bytes | None = None
        self._view = view
        self._read_usage = read_usage
        #: The last chunk with usage, read when somebody wants to know.
        self._last: bytes | None = None
        #: Chunks with content, counted as long as there is none with usage.
        self._with_content = 0

    def take(self, events: Iterable[bytes]) -> bytes:
        """Return what the caller gets of these; behind the end or an error, nothing."""
        shown = []
        for event in events:
            if self.complete or self.error is not None:
                break
            member = chunk_usage.usage_member(event)
            if member is not None:
                self.count += 1
                shown.append(self._seen(event, member))
                continue
            self._look_at(event)
            shown.append(event)
        return b"".join(shown)

    def usage(self) -> Usage | None:
        """Return what the last chunk with usage says: each counts from the beginning.

        If there is none, the chunks with content count.
        """
        said = usage_of([self._last] if self._last else [], self._read_usage)
        return at_least(self._with_content) if said is None else said

    def _look_at(self, event: bytes) -> None:
        """Note what an event without usage means."""
        if is_comment(event):
            return
        self.count += 1
        if _MAY_BE_DONE in event and _DONE.search(event):
            self.complete = True
        elif _MAY_BE_ERROR in event and _ERROR.search(event):
            self.error = event
        elif self._last is None and has_content(event):
            self._with_content += 1

    def _seen(self, chunk: bytes, member: tuple[int, int]) -> bytes:
        """Note a chunk's usage, and return the chunk as the caller sees it."""
        self._last = chunk
        view = self._view
        if view.final and view.continuous:
            return chunk
        if chunk_usage.has_no_choices(chunk):
            return chunk if view.final else b""
        if view.continuous:
            return chunk
        return chunk_usage.without(chunk_usage.in_one_line(chunk), member)
