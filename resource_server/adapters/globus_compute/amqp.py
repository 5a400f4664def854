"""A subscription to one AMQP queue on the event loop, for as long as its connection lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection

log = structlog.get_logger()

#: Silence of the other side for this long ends the connection (seconds).
HEARTBEAT_S = 30
OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 3.0
#: So many messages may be delivered and not yet acknowledged.
PREFETCH = 256


OnMessage: TypeAlias = Callable[["Subscription", bytes, int], None]


class SubscriptionLost(Exception):
    """The connection, its channel or its consumer is gone."""


class Subscription:
    """Messages of a queue, each to be acknowledged once it was dealt with.

    Everything that ends a subscription resolves one future, which every step waits for beside
    what it wants.
    """

    def __init__(self, on_message: OnMessage) -> None:
        loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._lost: asyncio.Future[str] = loop.create_future()
        self._closed: asyncio.Future[str] = loop.create_future()
        self._connection: Any = None
        self._channel: Any = None

    async def open(self, url: str, queue: str) -> None:
        """Connect and consume."""
        loop = asyncio.get_running_loop()
        connected, opened, consuming = (loop.create_future() for _ in range(3))
        self._connection = AsyncioConnection(
            _parameters(url),
            on_open_callback=lambda connection: _resolve(connected, connection),
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=loop,
        )
        await self._unless_lost(connected)
        self._connection.channel(on_open_callback=lambda channel: _resolve(opened, channel))
        self._channel = await self._unless_lost(opened)
        self._channel.add_on_close_callback(lambda _, reason: _resolve(self._lost, repr(reason)))
        self._channel.add_on_cancel_callback(lambda _: _resolve(self._lost, "cancelled"))
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.basic_consume(
            queue, self._deliver, callback=lambda frame: _resolve(consuming, frame)
        )
        await self._unless_lost(consuming)

    async def until_lost(self) -> None:
        """Wait until no more messages will come, and raise `SubscriptionLost`."""
        raise SubscriptionLost(await self._lost)

    def end(self, reason: str) -> None:
        """Let `until_lost` end."""
        _resolve(self._lost, reason)

    def acknowledge(self, tag: int) -> None:
        """Tell the broker that a message was dealt with; on a lost channel it comes again."""
        if self._channel.is_open:
            self._channel.basic_ack(tag)

    async def close(self) -> None:
        """Leave the broker."""
        if self._connection is None:
            return
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()
        await asyncio.wait({self._closed}, timeout=CLOSE_TIMEOUT_S)
        if not self._closed.done():
            log.warning("globus_results_close_unanswered", timeout_s=CLOSE_TIMEOUT_S)

    def _on_closed(self, _connection: object, reason: object) -> None:
        _resolve(self._closed, repr(reason))
        _resolve(self._lost, repr(reason))

    def _deliver(self, _channel: object, method: Any, _properties: object, body: bytes) -> None:  # noqa: ANN401 # pika is untyped
        self._on_message(self, body, method.delivery_tag)

    async def _unless_lost(self, wanted: asyncio.Future[Any]) -> Any:  # noqa: ANN401 # pika is untyped
        await asyncio.wait({wanted, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            raise SubscriptionLost(self._lost.result())
        return wanted.result()


@asynccontextmanager
async def subscribed(url: str, queue: str, on_message: OnMessage) -> AsyncIterator[Subscription]:
    """Consume a queue; `on_message` gets each body and the tag to acknowledge it with."""
    subscription = Subscription(on_message)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await subscription.open(url, queue)
        yield subscription
    finally:
        await subscription.close()


def _parameters(url: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except ValueError:
        # Neither this error nor its cause may carry the URL, which holds a password.
        raise SubscriptionLost("the address of the result queue cannot be read") from None
    parameters.heartbeat = HEARTBEAT_S
    parameters.stack_timeout = OPEN_TIMEOUT_S
    parameters.blocked_connection_timeout = OPEN_TIMEOUT_S
    return parameters


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)
