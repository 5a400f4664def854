"""The broker does for a pika client what RabbitMQ would do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAuthenticationError,
    UnroutableError,
)

T = TypeVar("T")
PERSISTENT = pika.BasicProperties(delivery_mode=2)


async def talk(url: str, work: Callable[[BlockingChannel], T]) -> T:
    """Open a channel in a thread, let `work` use it, and close the connection."""

    def run() -> T:
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            return work(connection.channel())
        finally:
            if connection.is_open:
                connection.close()

    return await asyncio.wait_for(asyncio.to_thread(run), 30)


def declare(channel: BlockingChannel, *queues: str, **arguments: Any) -> None:
    for queue in queues:
        channel.queue_declare(queue, durable=True, arguments=arguments)


def take(channel: BlockingChannel, queue: str, count: int = 1, **options: Any) -> list[bytes]:
    """Return the bodies of the next messages, acknowledged."""
    bodies: list[bytes] = []
    for method, _, body in channel.consume(queue, inactivity_timeout=5, **options):
        assert method is not None, f"only {len(bodies)} of {count} messages"
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(bodies) == count:
            break
    channel.cancel()
    return bodies


async def test_a_message_goes_through_an_exchange_with_its_properties(broker: Any) -> None:
    def work(channel: BlockingChannel) -> tuple[Any, bytes]:
        channel.exchange_declare("tasks", durable=True)
        declare(channel, "q")
        channel.queue_bind("q", "tasks", routing_key="key")
        headers = {"task": "7", "list": ["a"]}
        channel.basic_publish("tasks", "key", b"x", pika.BasicProperties(headers=headers))
        channel.basic_publish("tasks", "another key", b"y")
        method, properties, body = next(channel.consume("q", inactivity_timeout=5))
        assert method.routing_key == "key"
        return properties.headers, body

    assert await talk(broker.url(), work) == ({"task": "7", "list": ["a"]}, b"x")


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(broker: Any, size: int) -> None:
    def work(channel: BlockingChannel) -> bytes:
        declare(channel, "q")
        channel.basic_publish("", "q", b"s" * size)
        return take(channel, "q")[0]

    assert await talk(broker.url(), work) == b"s" * size


async def test_an_unroutable_mandatory_message_comes_back(broker: Any) -> None:
    def work(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        channel.basic_publish("", "nowhere", b"x")
        with pytest.raises(UnroutableError):
            channel.basic_publish("", "nowhere", b"x", mandatory=True)

    await talk(broker.url(), work)


async def test_unsettled_messages_return_in_order_when_a_client_leaves(broker: Any) -> None:
    def prepare(channel: BlockingChannel) -> None:
        declare(channel, "q")
        for number in range(4):
            channel.basic_publish("", "q", str(number).encode())
        deliveries = channel.consume("q", inactivity_timeout=5)
        for _ in range(3):
            next(deliveries)
        channel.basic_ack(1)
        channel.connection.close()

    def look(channel: BlockingChannel) -> list[tuple[bytes, bool]]:
        deliveries = channel.consume("q", inactivity_timeout=5)
        return [(d[2], d[0].redelivered) for d in (next(deliveries) for _ in range(3))]

    await talk(broker.url(), prepare)
    assert [body for body, _ in await talk(broker.url(), look)] == [b"1", b"2", b"3"]
    assert all(redelivered for _, redelivered in await talk(broker.url(), look))


async def test_a_refused_message_is_requeued_or_dropped(broker: Any) -> None:
    def work(channel: BlockingChannel) -> list[bytes]:
        declare(channel, "q")
        channel.basic_publish("", "q", b"again")
        channel.basic_publish("", "q", b"never")
        deliveries = channel.consume("q", inactivity_timeout=1)
        first, second = next(deliveries)[0], next(deliveries)[0]
        channel.basic_reject(second.delivery_tag, requeue=False)
        channel.basic_nack(first.delivery_tag, requeue=True)
        return [next(deliveries)[2], next(deliveries)[2]]

    assert await talk(broker.url(), work) == [b"again", None]


async def test_prefetch_limits_what_a_consumer_holds(broker: Any) -> None:
    def work(channel: BlockingChannel) -> int:
        declare(channel, "q")
        for _ in range(5):
            channel.basic_publish("", "q", b"x")
        channel.basic_qos(prefetch_count=2)
        deliveries = channel.consume("q", inactivity_timeout=0.5)
        assert next(deliveries)[0] is not None
        assert next(deliveries)[0] is not None
        assert next(deliveries)[0] is None
        channel.basic_ack(2, multiple=True)
        assert next(deliveries)[0] is not None
        waiting = channel.connection.channel().queue_declare("q", passive=True)
        return int(waiting.method.message_count)

    assert await talk(broker.url(), work) == 1


async def test_consumers_take_turns(broker: Any) -> None:
    def work(channel: BlockingChannel) -> list[list[bytes]]:
        declare(channel, "q")
        got: list[list[bytes]] = [[], []]
        for received in got:
            channel.basic_consume(
                "q", lambda _c, _m, _p, body, r=received: r.append(body), auto_ack=True
            )
        for number in range(4):
            channel.basic_publish("", "q", str(number).encode())
        while sum(map(len, got)) < 4:
            channel.connection.process_data_events(time_limit=5)
        return got

    assert sorted(await talk(broker.url(), work)) == [[b"0", b"2"], [b"1", b"3"]]


async def test_an_exclusive_consumer_is_alone(broker: Any) -> None:
    def work(channel: BlockingChannel) -> None:
        declare(channel, "q")
        channel.basic_consume("q", lambda *_: None, exclusive=True)
        other = channel.connection.channel()
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            other.basic_consume("q", lambda *_: None)

    await talk(broker.url(), work)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda c: c.queue_declare("absent", passive=True),
        lambda c: c.exchange_declare("absent", passive=True),
        lambda c: c.basic_consume("absent", lambda *_: None),
        lambda c: c.queue_bind("absent", "results", routing_key="k"),
    ],
)
async def test_what_does_not_exist_closes_the_channel_only(
    broker: Any, attempt: Callable[[BlockingChannel], object]
) -> None:
    def work(channel: BlockingChannel) -> None:
        connection = channel.connection
        with pytest.raises(ChannelClosedByBroker, match="NOT_FOUND"):
            attempt(channel)
        assert connection.is_open
        connection.channel().queue_declare("q")

    await talk(broker.url(), work)


async def test_an_unknown_delivery_tag_closes_the_channel(broker: Any) -> None:
    def work(channel: BlockingChannel) -> None:
        channel.basic_ack(99)
        with pytest.raises(ChannelClosedByBroker, match="PRECONDITION_FAILED"):
            channel.queue_declare("q")

    await talk(broker.url(), work)


async def test_a_wrong_password_is_told_apart_from_a_lost_connection(broker: Any) -> None:
    with pytest.raises(ProbableAuthenticationError):
        await talk(broker.url(word="wrong"), lambda _: None)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda c: c.queue_declare("new"),
        lambda c: c.exchange_declare("new"),
        lambda c: c.queue_bind("own", "results", routing_key="k"),
        lambda c: c.queue_delete("own"),
        lambda c: c.basic_consume("foreign", lambda *_: None),
    ],
)
async def test_a_worker_may_not_touch_what_is_not_its_own(
    broker: Any, attempt: Callable[[BlockingChannel], object]
) -> None:
    def prepare(channel: BlockingChannel) -> None:
        channel.exchange_declare("results")
        declare(channel, "own", "foreign", "mine.7")

    def work(channel: BlockingChannel) -> None:
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            attempt(channel)

    await talk(broker.url(), prepare)
    await talk(broker.url("worker"), work)


async def test_a_worker_may_use_what_is_its_own(broker: Any) -> None:
    def prepare(channel: BlockingChannel) -> None:
        channel.exchange_declare("results")
        declare(channel, "own", "mine.7")
        channel.queue_bind("own", "results", routing_key="own")

    def work(channel: BlockingChannel) -> list[bytes]:
        channel.confirm_delivery()
        channel.queue_declare("own", passive=True)
        channel.basic_publish("results", "own", b"x", mandatory=True)
        channel.basic_consume("mine.7", lambda *_: None)
        return take(channel, "own")

    def trespass(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            channel.basic_publish("results", "foreign", b"x")

    await talk(broker.url(), prepare)
    assert await talk(broker.url("worker"), work) == [b"x"]
    await talk(broker.url("worker"), trespass)


async def test_durable_queues_bindings_and_messages_survive_a_restart(broker: Any) -> None:
    def before(channel: BlockingChannel) -> None:
        channel.exchange_declare("tasks", durable=True)
        declare(channel, "q")
        channel.queue_bind("q", "tasks", routing_key="q")
        for body in (b"settled", b"unsettled", b"waiting"):
            channel.basic_publish("tasks", "q", body, PERSISTENT)
        channel.basic_publish("tasks", "q", b"transient")
        deliveries = channel.consume("q", inactivity_timeout=5)
        tags = [next(deliveries)[0].delivery_tag for _ in range(2)]
        channel.basic_ack(tags[0])

    def after(channel: BlockingChannel) -> list[bytes]:
        channel.basic_publish("tasks", "q", b"new", PERSISTENT)
        return take(channel, "q", 3)

    await talk(broker.url(), before)
    await broker.stop()
    await broker.start()
    assert await talk(broker.url(), after) == [b"unsettled", b"waiting", b"new"]


async def test_a_restart_tells_clients_to_come_back(broker: Any) -> None:
    opened = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(channel: BlockingChannel) -> None:
        loop.call_soon_threadsafe(opened.set)
        with pytest.raises(ConnectionClosedByBroker, match="CONNECTION_FORCED"):
            channel.connection.process_data_events(time_limit=10)

    talking = asyncio.create_task(talk(broker.url(), work))
    await opened.wait()
    await broker.stop()
    await talking
    await broker.start()


async def test_messages_that_waited_too_long_are_dropped(broker: Any) -> None:
    def work(channel: BlockingChannel) -> None:
        declare(channel, "brief", **{"x-message-ttl": 0})
        declare(channel, "unused", **{"x-expires": 0})
        channel.basic_publish("", "brief", b"x", PERSISTENT)

    def count(channel: BlockingChannel) -> int:
        with pytest.raises(ChannelClosedByBroker, match="NOT_FOUND"):
            channel.connection.channel().queue_declare("unused", passive=True)
        return int(channel.queue_declare("brief", passive=True).method.message_count)

    await talk(broker.url(), work)
    broker.sweep()
    assert await talk(broker.url(), count) == 0


async def test_a_full_queue_refuses_messages(broker: Any) -> None:
    body = b"x" * (30 * 1024 * 1024)

    def work(channel: BlockingChannel) -> None:
        declare(channel, "q")
        channel.confirm_delivery()
        for _ in range(8):
            channel.basic_publish("", "q", body)
        with pytest.raises(NackError):
            channel.basic_publish("", "q", body)

    await talk(broker.url(), work)


async def test_a_body_over_the_bound_is_refused_when_it_is_announced(broker: Any) -> None:
    def work(channel: BlockingChannel) -> None:
        declare(channel, "q")
        channel.confirm_delivery()
        with pytest.raises(ChannelClosedByBroker, match="CONTENT_TOO_LARGE"):
            channel.basic_publish("", "q", b"x" * (33 * 1024 * 1024))

    await talk(broker.url(), work)
