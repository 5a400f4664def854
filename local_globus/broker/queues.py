"""Queues: messages in order, and the consumers that take turns to get them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

from pika.spec import BasicProperties

#: A queue that holds more than this refuses further messages (bytes).
_MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message in a queue; `stored_as` is its number in the store of durable messages."""

    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes
    stored_as: int | None = None
    redelivered: bool = False
    arrived_at: float = field(default_factory=time.time)


class Consumer(Protocol):
    """Somebody who receives the messages of a queue."""

    exclusive: bool

    @property
    def ready(self) -> bool:
        """Say whether another message may be sent now."""

    def deliver(self, message: Message) -> None:
        """Send a message."""

    def cancelled(self) -> None:
        """Learn that the queue is gone."""


class MessageLog(Protocol):
    """Where durable messages are kept as long as nobody has settled them."""

    def add(self, queue: str, message: Message) -> int:
        """Keep a message and return its number."""

    def remove(self, number: int) -> None:
        """Forget a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What a queue was declared with; times in seconds, `None` for never."""

    durable: bool = False
    message_ttl_s: float | None = None
    expires_s: float | None = None


class Queue:
    """Messages on their way to consumers, first in, first out."""

    def __init__(self, name: str, options: QueueOptions, log: MessageLog) -> None:
        self.name = name
        self.options = options
        self.consumers: list[Consumer] = []
        self._log = log
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._used_at = time.time()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> bool:
        """Append a message; `False` if the queue is full."""
        if self._bytes + len(message.body) > _MOST_BYTES:
            return False
        if self.options.durable and message.properties.delivery_mode == 2:  # noqa: PLR2004 - the protocol's number for persistent
            message = replace(message, stored_as=self._log.add(self.name, message))
        self.restore(message)
        self.pump()
        return True

    def restore(self, message: Message) -> None:
        """Append a message that the log already holds."""
        self._messages.append(message)
        self._bytes += len(message.body)

    def take_back(self, messages: list[Message]) -> None:
        """Put unsettled messages, given in order, back where they came from."""
        for message in reversed(messages):
            self._messages.appendleft(replace(message, redelivered=True))
            self._bytes += len(message.body)
        self.pump()

    def settle(self, message: Message) -> None:
        """Forget a message that was consumed or dropped."""
        if message.stored_as is not None:
            self._log.remove(message.stored_as)

    def subscribe(self, consumer: Consumer) -> None:
        """Add a consumer, last in turn."""
        self.consumers.append(consumer)
        self.pump()

    def unsubscribe(self, consumer: Consumer) -> None:
        """Remove a consumer."""
        self.consumers.remove(consumer)
        self.touch()

    def touch(self) -> None:
        """Begin the time anew after which an unused queue expires."""
        self._used_at = time.time()

    def pump(self) -> None:
        """Deliver as long as there is a message and a consumer that may have it."""
        while self._messages and (consumer := self._next_ready()):
            message = self._messages.popleft()
            self._bytes -= len(message.body)
            consumer.deliver(message)

    def _next_ready(self) -> Consumer | None:
        for position, consumer in enumerate(self.consumers):
            if consumer.ready:
                self.consumers.append(self.consumers.pop(position))
                return consumer
        return None

    def drop_expired(self, now: float) -> None:
        """Forget the messages that waited longer than the queue lets them."""
        ttl = self.options.message_ttl_s
        while ttl is not None and self._messages and self._messages[0].arrived_at + ttl <= now:
            message = self._messages.popleft()
            self._bytes -= len(message.body)
            self.settle(message)

    def is_expired(self, now: float) -> bool:
        """Say whether the queue was unused for so long that it is to be deleted."""
        if self.options.expires_s is None or self.consumers:
            return False
        return self._used_at + self.options.expires_s <= now
