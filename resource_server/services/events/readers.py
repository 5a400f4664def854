"""Which reader each dialect needs."""

from __future__ import annotations

from resource_server.domain.dialects import Dialect
from resource_server.ports import EventUsageReader
from resource_server.services.events.chunks import ChunkReader
from resource_server.services.events.named import MESSAGES, RESPONSES, NamedEventReader
from resource_server.services.events.reader import EventReader
from resource_server.services.stream_options import UsageView


def reader_of(dialect: Dialect, view: UsageView, read_usage: EventUsageReader) -> EventReader:
    """Return what reads along on a new stream."""
    if dialect is Dialect.CHUNKS:
        return ChunkReader(view, read_usage)
    names = RESPONSES if dialect is Dialect.RESPONSES else MESSAGES
    return NamedEventReader(names, read_usage)
