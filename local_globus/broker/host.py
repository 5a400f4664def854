"""The virtual host: exchanges, queues and the way a message takes from one to the other."""

from __future__ import annotations

import time
from enum import Enum, auto

from pika.spec import BasicProperties

from local_globus.broker.errors import not_found
from local_globus.broker.queues import Message, Queue, QueueOptions
from local_globus.broker.store import Store

_DEFAULT_EXCHANGE = ""


class Routed(Enum):
    """What became of a published message."""

    ACCEPTED = auto()
    UNROUTABLE = auto()
    REFUSED = auto()


class VirtualHost:
    """Direct exchanges and queues; what is durable is in the store before it is confirmed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues = {
            name: Queue(name, options, store) for name, options in store.queues().items()
        }
        self._bindings: dict[str, dict[str, set[str]]] = {name: {} for name in store.exchanges()}
        for exchange, routing_key, queue in store.bindings():
            self._bindings[exchange].setdefault(routing_key, set()).add(queue)
        for name, restored in self._queues.items():
            for message in store.messages(name):
                restored.restore(message)

    def declare_exchange(self, name: str, *, durable: bool) -> None:
        """Make sure that a direct exchange exists."""
        self._bindings.setdefault(name, {})
        if durable:
            self._store.add_exchange(name)

    def check_exchange(self, name: str) -> None:
        """Raise a fault if there is no such exchange."""
        if name not in self._bindings:
            raise not_found("exchange", name)

    def declare_queue(self, name: str, options: QueueOptions) -> Queue:
        """Make sure that a queue exists and return it."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name, options, self._store)
            if options.durable:
                self._store.add_queue(name, options)
        queue.touch()
        return queue

    def queue(self, name: str) -> Queue:
        """Return a queue, or raise a fault if there is none."""
        if name not in self._queues:
            raise not_found("queue", name)
        return self._queues[name]

    def delete_queue(self, name: str) -> int:
        """Delete a queue and return how many messages went with it."""
        queue = self._queues.pop(name, None)
        self._store.remove_queue(name)
        if queue is None:
            return 0
        for consumer in queue.consumers:
            consumer.cancelled()
        return len(queue)

    def bind(self, exchange: str, routing_key: str, queue: str) -> None:
        """Let messages with a key go from an exchange to a queue."""
        self.check_exchange(exchange)
        durable = self.queue(queue).options.durable
        self._bindings[exchange].setdefault(routing_key, set()).add(queue)
        if durable:
            self._store.add_binding(exchange, routing_key, queue)

    def publish(
        self, exchange: str, routing_key: str, *, properties: BasicProperties, body: bytes
    ) -> Routed:
        """Put a message into every queue that its key leads to."""
        if exchange == _DEFAULT_EXCHANGE:
            names = {routing_key}
        else:
            self.check_exchange(exchange)
            names = self._bindings[exchange].get(routing_key, set())
        queues = [self._queues[name] for name in names if name in self._queues]
        if not queues:
            return Routed.UNROUTABLE
        message = Message(
            exchange=exchange, routing_key=routing_key, properties=properties, body=body
        )
        accepted = [queue.put(message) for queue in queues]
        return Routed.ACCEPTED if all(accepted) else Routed.REFUSED

    def sweep(self) -> None:
        """Drop messages and queues whose time has come."""
        now = time.time()
        for queue in list(self._queues.values()):
            queue.drop_expired(now)
            if queue.is_expired(now):
                self.delete_queue(queue.name)
