"""The broker defends itself against clients that are slow, silent, or speak nonsense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pika import frame, spec

from local_globus.broker.wire import PROTOCOL_HEADER


class RawClient:
    """Speaks frames over a socket and reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = b""

    @classmethod
    async def connect(cls, port: int) -> RawClient:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=4096))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def method(self, channel: int, method: Any) -> None:
        self.send(frame.Method(channel, method).marshal())

    async def receive(self) -> Any:
        """Return the next frame, `None` at the end of the connection."""
        async with asyncio.timeout(10):
            while True:
                consumed, received = frame.decode_frame(self._buffer)
                if received is not None:
                    self._buffer = self._buffer[consumed:]
                    return received
                data = await self._reader.read(65536)
                if not data:
                    return None
                self._buffer += data

    async def receive_bytes(self) -> bytes:
        """Return everything until the end of the connection."""
        return await asyncio.wait_for(self._reader.read(), 10)

    async def drained(self) -> None:
        """Wait until the operating system took most of what was sent."""
        await self._writer.drain()

    async def expect(self, kind: type) -> Any:
        """Return the next method, which must be of a kind; heartbeats do not count."""
        while isinstance(received := await self.receive(), frame.Heartbeat):
            pass
        assert isinstance(received.method, kind), received
        return received.method

    async def log_in(self, *, heartbeat: int = 0) -> None:
        self.send(PROTOCOL_HEADER)
        await self.expect(spec.Connection.Start)
        self.method(0, spec.Connection.StartOk({}, response="\0service\0right"))
        await self.expect(spec.Connection.Tune)
        self.method(0, spec.Connection.TuneOk(10, 131072, heartbeat))
        self.method(0, spec.Connection.Open())
        await self.expect(spec.Connection.OpenOk)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
async def client(broker: Any) -> Any:
    client = await RawClient.connect(broker.port)
    yield client
    await client.close()


async def test_another_protocol_gets_the_version_and_the_door(client: RawClient) -> None:
    client.send(b"GET / HTTP/1.1\r\n")

    assert await client.receive_bytes() == PROTOCOL_HEADER


async def test_a_frame_over_the_bound_closes_the_connection(client: RawClient) -> None:
    await client.log_in()
    client.send(b"\x01\x00\x01\x7f\xff\xff\xff")

    assert (await client.expect(spec.Connection.Close)).reply_code == 501


async def test_nonsense_closes_the_connection(client: RawClient) -> None:
    await client.log_in()
    client.send(b"\x01\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff\xce")

    assert (await client.expect(spec.Connection.Close)).reply_code == 502


async def test_nothing_works_before_the_login(client: RawClient) -> None:
    client.send(PROTOCOL_HEADER)
    await client.expect(spec.Connection.Start)
    client.method(1, spec.Channel.Open())

    assert (await client.expect(spec.Connection.Close)).reply_code == 503


async def test_a_silent_client_is_dropped_after_missed_heartbeats(client: RawClient) -> None:
    await client.log_in(heartbeat=1)

    beats = 0
    while isinstance(await client.receive(), frame.Heartbeat):
        beats += 1

    assert beats > 1


async def test_deliveries_wait_for_a_client_that_does_not_read(
    broker: Any, client: RawClient
) -> None:
    await client.log_in()
    client.method(1, spec.Channel.Open())
    await client.expect(spec.Channel.OpenOk)
    client.method(1, spec.Queue.Declare(queue="q"))
    await client.expect(spec.Queue.DeclareOk)
    client.method(1, spec.Basic.Consume(queue="q", no_ack=True))
    await client.expect(spec.Basic.ConsumeOk)
    body, count = b"x" * 100_000, 200

    # The client publishes 20 MB to itself and reads none of it yet.
    for _ in range(count):
        client.method(1, spec.Basic.Publish(exchange="", routing_key="q"))
        client.send(frame.Header(1, len(body), spec.BasicProperties()).marshal())
        client.send(frame.Body(1, body).marshal())
    await asyncio.wait_for(client.drained(), 10)
    other = await RawClient.connect(broker.port)
    await other.log_in()
    other.method(1, spec.Channel.Open())
    await other.expect(spec.Channel.OpenOk)
    waiting = 0
    async with asyncio.timeout(10):
        while not waiting:
            other.method(1, spec.Queue.Declare(queue="q", passive=True))
            waiting = (await other.expect(spec.Queue.DeclareOk)).message_count
    await other.close()
    assert waiting > count / 2

    delivered = 0
    while delivered < count:
        delivered += isinstance(getattr(await client.receive(), "method", 0), spec.Basic.Deliver)
