"""A message while it arrives, frame by frame."""

from __future__ import annotations

from pika.spec import BasicProperties

from local_globus.broker.errors import ChannelFault, ConnectionFault

#: A client that announces a larger body is refused before it sends it (bytes).
_MOST_BODY = 32 * 1024 * 1024


class Publication:
    """Collects properties and body that follow a `basic.publish`."""

    def __init__(self, exchange: str, routing_key: str, mandatory: bool) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.mandatory = mandatory
        self.properties = BasicProperties()
        self.body = bytearray()
        self._size: int | None = None

    @property
    def complete(self) -> bool:
        """Say whether the whole message has arrived."""
        return self._size is not None and len(self.body) == self._size

    def begin(self, size: int, properties: BasicProperties) -> None:
        """Take the header."""
        if size > _MOST_BODY:
            raise ChannelFault(311, "CONTENT_TOO_LARGE - message body is too large")
        self._size, self.properties = size, properties

    def extend(self, fragment: bytes) -> None:
        """Take a piece of the body."""
        self.body += fragment
        if self._size is None or len(self.body) > self._size:
            raise ConnectionFault(501, "FRAME_ERROR - more body than announced")
