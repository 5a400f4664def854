"""Consumers of a channel, and the deliveries that they have not settled yet."""

from __future__ import annotations

from typing import Protocol

from pika import spec

from local_globus.broker.errors import ChannelFault
from local_globus.broker.queues import Message, Queue
from local_globus.broker.wire import Content, Method


class Sender(Protocol):
    """The connection that a consumer sends on."""

    @property
    def writable(self) -> bool:
        """Say whether the client keeps up with what it is sent."""

    def send(self, channel: int, method: Method) -> None:
        """Send a method."""

    def send_message(self, channel: int, method: Method, message: Content) -> None:
        """Send a method that carries properties and a body."""


class Deliveries:
    """The unsettled deliveries of one channel, by delivery tag and so in order."""

    def __init__(self) -> None:
        self.limit = 0
        self._next_tag = 1
        self._unsettled: dict[int, tuple[ChannelConsumer, Message]] = {}

    @property
    def full(self) -> bool:
        """Say whether the limit for the whole channel is reached."""
        return bool(self.limit) and len(self._unsettled) >= self.limit

    def number(self) -> int:
        """Return the tag of the next delivery."""
        tag = self._next_tag
        self._next_tag += 1
        return tag

    def await_settling(self, tag: int, consumer: ChannelConsumer, message: Message) -> None:
        """Remember a delivery until it is acknowledged or refused."""
        self._unsettled[tag] = (consumer, message)

    def settle(self, tag: int, *, multiple: bool) -> None:
        """Acknowledge one delivery, or all up to it."""
        taken = self._take(tag, multiple=multiple)
        for consumer, message in taken:
            consumer.queue.settle(message)
        _pump(taken)

    def refuse(self, tag: int, *, multiple: bool, requeue: bool) -> None:
        """Give one delivery back or drop it, or all up to it."""
        taken = self._take(tag, multiple=multiple)
        if requeue:
            _give_back(taken)
            return
        for consumer, message in taken:
            consumer.queue.settle(message)
        _pump(taken)

    def give_back_all(self) -> None:
        """Return every unsettled message to its queue."""
        taken = list(self._unsettled.values())
        self._unsettled.clear()
        _give_back(taken)

    def _take(self, tag: int, *, multiple: bool) -> list[tuple[ChannelConsumer, Message]]:
        everything = multiple and tag == 0
        if tag not in self._unsettled and not everything:
            raise ChannelFault(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}")
        last = max(self._unsettled, default=0) if everything else tag
        tags = [known for known in self._unsettled if known <= last] if multiple else [tag]
        taken = [self._unsettled.pop(known) for known in tags]
        for consumer, _ in taken:
            consumer.unsettled -= 1
        return taken


class ChannelConsumer:
    """A subscription of one channel to one queue."""

    def __init__(  # noqa: PLR0913 - the fields of one `basic.consume`
        self,
        *,
        queue: Queue,
        tag: str,
        link: Sender,
        channel: int,
        deliveries: Deliveries,
        no_ack: bool,
        exclusive: bool,
        prefetch: int,
    ) -> None:
        self.queue = queue
        self.exclusive = exclusive
        self.unsettled = 0
        self._tag = tag
        self._link = link
        self._channel = channel
        self._deliveries = deliveries
        self._no_ack = no_ack
        self._prefetch = prefetch

    @property
    def ready(self) -> bool:
        """Say whether the client reads and has settled enough of what it got."""
        if not self._link.writable:
            return False
        if self._no_ack:
            return True
        within = not self._prefetch or self.unsettled < self._prefetch
        return within and not self._deliveries.full

    def deliver(self, message: Message) -> None:
        """Send a message."""
        tag = self._deliveries.number()
        if self._no_ack:
            self.queue.settle(message)
        else:
            self.unsettled += 1
            self._deliveries.await_settling(tag, self, message)
        method = spec.Basic.Deliver(
            self._tag, tag, message.redelivered, message.exchange, message.routing_key
        )
        self._link.send_message(self._channel, method, (message.properties, message.body))

    def cancelled(self) -> None:
        """Tell the client that the queue is gone."""
        self._link.send(self._channel, spec.Basic.Cancel(self._tag, nowait=True))


def _give_back(taken: list[tuple[ChannelConsumer, Message]]) -> None:
    by_queue: dict[Queue, list[Message]] = {}
    for consumer, message in taken:
        by_queue.setdefault(consumer.queue, []).append(message)
    for queue, messages in by_queue.items():
        queue.take_back(messages)


def _pump(taken: list[tuple[ChannelConsumer, Message]]) -> None:
    for queue in {consumer.queue for consumer, _ in taken}:
        queue.pump()
