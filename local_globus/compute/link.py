"""The service's own connection to the broker: declare, publish with confirms, consume."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError
from pika.frame import Method
from pika.spec import Basic, BasicProperties

logger = logging.getLogger(__name__)

_ANSWER_S = 10.0
_RECONNECT_S = 1.0
_PREFETCH = 64


class LinkError(Exception):
    """The broker is not there, or did not answer in time."""


class NotTaken(LinkError):
    """No queue takes the message: there is none, or it is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message from the broker; `settle` tells the broker to forget it."""

    routing_key: str
    body: bytes
    settle: Callable[[], None]


Handler: TypeAlias = Callable[[Delivery], None]


class Link:
    """One connection and one channel, made anew when they break; `run` keeps them up."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._up = asyncio.Event()
        self._channel: Channel | None = None
        self._closed: asyncio.Future[None] | None = None
        self._answers: set[asyncio.Future[Any]] = set()
        self._published = 0
        self._unconfirmed: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._returned: set[str] = set()

    async def run(
        self,
        *,
        declare: Callable[[], Awaitable[None]],
        queues: Mapping[str, Handler],
        lost: Callable[[], None],
    ) -> None:
        """Stay connected until cancelled; with each connection declare, then read the queues.

        `lost` is called after each, also after an attempt that failed.
        """
        while True:
            try:
                await self._session(declare, queues)
            except (LinkError, AMQPError, OSError) as error:
                logger.warning("broker_unreachable", extra={"error": repr(error)})
            lost()
            await asyncio.sleep(_RECONNECT_S)

    async def ready(self) -> None:
        """Wait until the link is up."""
        try:
            await asyncio.wait_for(self._up.wait(), _ANSWER_S)
        except TimeoutError as error:
            raise LinkError("The broker cannot be reached") from error

    async def publish(
        self, exchange: str, routing_key: str, *, body: bytes, **properties: object
    ) -> None:
        """Send a message and return when the broker is answerable for it."""
        if not self._up.is_set():
            raise LinkError("Not connected to the broker")
        channel = self._open_channel()
        message_id = str(uuid.uuid4())
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._published += 1
        self._unconfirmed[self._published] = (message_id, confirmed)
        channel.basic_publish(
            exchange,
            routing_key,
            body,
            BasicProperties(message_id=message_id, **properties),
            mandatory=True,
        )
        await self._in_time(confirmed)

    async def declare_exchange(self, name: str) -> None:
        """Make sure that a durable direct exchange exists."""
        await self._ask("exchange_declare", exchange=name, exchange_type="direct", durable=True)

    async def declare_queue(self, name: str, **times_s: float) -> None:
        """Make sure that a durable queue exists; `message_ttl` and `expires` limit its life."""
        arguments = {
            f"x-{key.replace('_', '-')}": int(value * 1000) for key, value in times_s.items()
        }
        await self._ask("queue_declare", queue=name, durable=True, arguments=arguments)

    async def bind(self, exchange: str, routing_key: str, queue: str) -> None:
        """Let messages with a key go from an exchange to a queue."""
        await self._ask("queue_bind", queue=queue, exchange=exchange, routing_key=routing_key)

    async def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it."""
        await self._ask("queue_delete", queue=name)

    async def _ask(self, method: str, **arguments: object) -> None:
        ask = getattr(self._open_channel(), method)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        ask(callback=lambda reply: _resolve(answer, reply), **arguments)
        await self._in_time(answer)

    async def _in_time(self, answer: asyncio.Future[Any]) -> None:
        try:
            await asyncio.wait_for(answer, _ANSWER_S)
        except TimeoutError as error:
            # Nothing is known of what is under way; the next session begins from the start.
            if self._closed is not None:
                _resolve(self._closed, None)
            raise LinkError("The broker does not answer") from error

    def _open_channel(self) -> Channel:
        if self._channel is None or not self._channel.is_open:
            raise LinkError("Not connected to the broker")
        return self._channel

    async def _session(
        self, declare: Callable[[], Awaitable[None]], queues: Mapping[str, Handler]
    ) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = loop.create_future()
        closed: asyncio.Future[None] = loop.create_future()
        connection = AsyncioConnection(
            pika.URLParameters(self._url),
            on_open_callback=lambda c: _resolve(opened, c),
            on_open_error_callback=lambda _, error: _fail(opened, error),
            on_close_callback=lambda *_: _resolve(closed, None),
            custom_ioloop=loop,
        )
        try:
            await self._in_time(opened)
            self._closed = closed
            await self._begin(connection, closed)
            await declare()
            for queue, handler in queues.items():
                self._consume(queue, handler)
            self._up.set()
            await closed
        finally:
            self._down()
            await _close(connection)

    async def _begin(self, connection: AsyncioConnection, closed: asyncio.Future[None]) -> None:
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        connection.channel(on_open_callback=ready.set_result)
        await self._in_time(ready)
        channel: Channel = ready.result()
        channel.add_on_close_callback(lambda *_: _resolve(closed, None))
        channel.add_on_return_callback(self._on_return)
        self._channel, self._published = channel, 0
        await self._ask("confirm_delivery", ack_nack_callback=self._on_confirm)
        await self._ask("basic_qos", prefetch_count=_PREFETCH)

    def _consume(self, queue: str, handler: Handler) -> None:
        channel = self._open_channel()

        def receive(_channel: Channel, method: Basic.Deliver, _: object, body: bytes) -> None:
            def settle() -> None:
                if channel.is_open:
                    channel.basic_ack(method.delivery_tag)

            handler(Delivery(routing_key=method.routing_key, body=body, settle=settle))

        channel.basic_consume(queue, receive)

    def _on_return(
        self, _channel: object, _method: object, properties: BasicProperties, _body: bytes
    ) -> None:
        self._returned.add(properties.message_id)

    def _on_confirm(self, frame: Method) -> None:
        tag = frame.method.delivery_tag
        first = min(self._unconfirmed, default=tag) if frame.method.multiple else tag
        accepted = isinstance(frame.method, Basic.Ack)
        for number in range(first, tag + 1):
            message_id, confirmed = self._unconfirmed.pop(number, ("", None))
            if confirmed is None:
                continue
            if message_id in self._returned:
                self._returned.discard(message_id)
                _fail(confirmed, NotTaken("There is no queue for the message"))
            elif accepted:
                _resolve(confirmed, None)
            else:
                _fail(confirmed, NotTaken("The queue is full"))

    def _down(self) -> None:
        self._up.clear()
        self._channel = self._closed = None
        self._returned.clear()
        waiting, self._unconfirmed = self._unconfirmed, {}
        for future in [confirmed for _, confirmed in waiting.values()] + list(self._answers):
            _fail(future, LinkError("The connection to the broker was lost"))


async def _close(connection: AsyncioConnection) -> None:
    if not connection.is_open:
        return
    closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection.add_on_close_callback(lambda *_: _resolve(closed, None))
    connection.close()
    await asyncio.wait_for(closed, _ANSWER_S)


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
