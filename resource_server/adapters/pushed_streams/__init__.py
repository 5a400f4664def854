"""The hub's side of pushed answers: functions at sites open a POST for each, and readers get it."""

from resource_server.adapters.pushed_streams.stream import PushedStream
from resource_server.adapters.pushed_streams.streams import PushedStreams

__all__ = ["PushedStream", "PushedStreams"]
