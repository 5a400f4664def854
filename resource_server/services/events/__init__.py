"""Reads along on streamed answers: what the caller gets of them, what they cost, how they end."""

from resource_server.services.events.reader import EventReader
from resource_server.services.events.readers import reader_of
from resource_server.services.events.under_way import EventsUnderWay

__all__ = ["EventReader", "EventsUnderWay", "reader_of"]
