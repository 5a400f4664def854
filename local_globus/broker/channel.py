"""A channel: one client's stream of declarations, publications and deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from pika import spec

from local_globus.broker.consumers import ChannelConsumer, Deliveries
from local_globus.broker.errors import ChannelFault, ConnectionFault, refused
from local_globus.broker.host import Routed, VirtualHost
from local_globus.broker.permissions import Permissions
from local_globus.broker.publishing import Publication
from local_globus.broker.queues import QueueOptions
from local_globus.broker.wire import Content, Method


class Link(Protocol):
    """What a channel needs of the connection it belongs to."""

    permissions: Permissions

    @property
    def writable(self) -> bool:
        """Say whether the client keeps up with what it is sent."""

    def send(self, channel: int, method: Method) -> None:
        """Send a method."""

    def send_message(self, channel: int, method: Method, message: Content) -> None:
        """Send a method that carries properties and a body."""


class Channel:
    """Carries out the methods that arrive on one channel number."""

    def __init__(self, number: int, link: Link, host: VirtualHost) -> None:
        self._number = number
        self._link = link
        self._host = host
        self._deliveries = Deliveries()
        self._consumers: dict[str, ChannelConsumer] = {}
        self._publication: Publication | None = None
        self._confirming = False
        self._published = 0
        self._prefetch = 0
        self._handlers: dict[type, Callable[[Method], None]] = {
            spec.Basic.Ack: self._ack,
            spec.Basic.Cancel: self._cancel,
            spec.Basic.Consume: self._consume,
            spec.Basic.Nack: self._nack,
            spec.Basic.Publish: self._publish,
            spec.Basic.Qos: self._qos,
            spec.Basic.Reject: self._nack,
            spec.Confirm.Select: self._confirm,
            spec.Exchange.Declare: self._declare_exchange,
            spec.Queue.Bind: self._bind,
            spec.Queue.Declare: self._declare_queue,
            spec.Queue.Delete: self._delete_queue,
        }

    def handle(self, method: Method) -> None:
        """Carry out a method, or raise a fault."""
        handler = self._handlers.get(type(method))
        if handler is None:
            raise ChannelFault(540, f"NOT_IMPLEMENTED - {method.NAME}")
        handler(method)

    def header(self, size: int, properties: spec.BasicProperties) -> None:
        """Receive the header of the message that is being published."""
        if self._publication is None:
            raise ConnectionFault(505, "UNEXPECTED_FRAME - header without a publication")
        self._publication.begin(size, properties)
        self._finish_publication()

    def body(self, fragment: bytes) -> None:
        """Receive a piece of the message that is being published."""
        if self._publication is None:
            raise ConnectionFault(505, "UNEXPECTED_FRAME - body without a publication")
        self._publication.extend(fragment)
        self._finish_publication()

    def resume(self) -> None:
        """Deliver what waited for the client to read."""
        for consumer in list(self._consumers.values()):
            consumer.queue.pump()

    def close(self) -> None:
        """End the consumers and give back what nobody has settled."""
        for consumer in self._consumers.values():
            consumer.queue.unsubscribe(consumer)
        self._consumers.clear()
        self._deliveries.give_back_all()

    def _answer(self, request: Method, reply: Method) -> None:
        if not getattr(request, "nowait", False):
            self._link.send(self._number, reply)

    def _owner_only(self, what: str) -> None:
        if not self._link.permissions.everything:
            raise refused(what)

    def _declare_exchange(self, method: Method) -> None:
        if method.passive:
            self._host.check_exchange(method.exchange)
        else:
            self._owner_only("declaring an exchange")
            if method.type != "direct":
                raise ConnectionFault(503, "COMMAND_INVALID - only direct exchanges")
            self._host.declare_exchange(method.exchange, durable=method.durable)
        self._answer(method, spec.Exchange.DeclareOk())

    def _declare_queue(self, method: Method) -> None:
        if method.passive:
            queue = self._host.queue(method.queue)
        else:
            self._owner_only("declaring a queue")
            if method.exclusive or method.auto_delete or not method.queue:
                raise ChannelFault(540, "NOT_IMPLEMENTED - temporary queues")
            queue = self._host.declare_queue(method.queue, _options(method))
        self._answer(method, spec.Queue.DeclareOk(queue.name, len(queue), len(queue.consumers)))

    def _delete_queue(self, method: Method) -> None:
        self._owner_only("deleting a queue")
        self._answer(method, spec.Queue.DeleteOk(self._host.delete_queue(method.queue)))

    def _bind(self, method: Method) -> None:
        self._owner_only("binding a queue")
        self._host.bind(method.exchange, method.routing_key, method.queue)
        self._answer(method, spec.Queue.BindOk())

    def _confirm(self, method: Method) -> None:
        self._confirming = True
        self._answer(method, spec.Confirm.SelectOk())

    def _publish(self, method: Method) -> None:
        if not self._link.permissions.may_publish(method.exchange, method.routing_key):
            raise refused(f"publishing '{method.routing_key}' to '{method.exchange}'")
        self._publication = Publication(method.exchange, method.routing_key, method.mandatory)

    def _finish_publication(self) -> None:
        publication = self._publication
        if publication is None or not publication.complete:
            return
        self._publication = None
        exchange, key = publication.exchange, publication.routing_key
        message = (publication.properties, bytes(publication.body))
        routed = self._host.publish(exchange, key, properties=message[0], body=message[1])
        if routed is Routed.UNROUTABLE and publication.mandatory:
            returned = spec.Basic.Return(312, "NO_ROUTE", exchange, key)
            self._link.send_message(self._number, returned, message)
        if self._confirming:
            self._published += 1
            verdict = spec.Basic.Nack if routed is Routed.REFUSED else spec.Basic.Ack
            self._link.send(self._number, verdict(self._published))

    def _qos(self, method: Method) -> None:
        if method.prefetch_size:
            raise ConnectionFault(540, "NOT_IMPLEMENTED - prefetch_size")
        if method.global_qos:
            self._deliveries.limit = method.prefetch_count
        else:
            self._prefetch = method.prefetch_count
        self._answer(method, spec.Basic.QosOk())

    def _consume(self, method: Method) -> None:
        queue = self._host.queue(method.queue)
        if not self._link.permissions.may_consume(method.queue):
            raise refused(f"consuming from queue '{method.queue}'")
        taken = any(consumer.exclusive for consumer in queue.consumers)
        if taken or (method.exclusive and queue.consumers):
            raise refused(f"queue '{method.queue}' in exclusive use")
        tag = method.consumer_tag or f"ctag-{secrets.token_hex(8)}"
        if tag in self._consumers:
            raise ConnectionFault(530, f"NOT_ALLOWED - consumer tag '{tag}' is in use")
        consumer = ChannelConsumer(
            queue=queue,
            tag=tag,
            link=self._link,
            channel=self._number,
            deliveries=self._deliveries,
            no_ack=method.no_ack,
            exclusive=method.exclusive,
            prefetch=self._prefetch,
        )
        self._consumers[tag] = consumer
        self._answer(method, spec.Basic.ConsumeOk(tag))
        queue.subscribe(consumer)

    def _cancel(self, method: Method) -> None:
        consumer = self._consumers.pop(method.consumer_tag, None)
        if consumer is not None:
            consumer.queue.unsubscribe(consumer)
        self._answer(method, spec.Basic.CancelOk(method.consumer_tag))

    def _ack(self, method: Method) -> None:
        self._deliveries.settle(method.delivery_tag, multiple=method.multiple)

    def _nack(self, method: Method) -> None:
        multiple = getattr(method, "multiple", False)
        self._deliveries.refuse(method.delivery_tag, multiple=multiple, requeue=method.requeue)


def _options(method: Method) -> QueueOptions:
    arguments = method.arguments or {}
    seconds = {
        name: arguments[name] / 1000 for name in ("x-message-ttl", "x-expires") if name in arguments
    }
    return QueueOptions(
        durable=method.durable,
        message_ttl_s=seconds.get("x-message-ttl"),
        expires_s=seconds.get("x-expires"),
    )
