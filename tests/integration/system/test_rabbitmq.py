"""A RabbitMQ of the lab: what a restart keeps, how several live side by side, what is left."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pika
import pytest
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError

from lab.system.rabbitmq import Rabbitmq, rabbitmq
from tests.support.process_table import session

PERSISTENT = pika.BasicProperties(delivery_mode=2)


def put(url: str, body: bytes) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare("kept", durable=True)
    channel.confirm_delivery()
    channel.basic_publish("", "kept", body, PERSISTENT)
    connection.close()


def taken(url: str) -> bytes | None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    body: bytes | None = connection.channel().basic_get("kept", auto_ack=True)[2]
    connection.close()
    return body


async def test_a_restart_keeps_what_is_durable(tmp_path: Path) -> None:
    async with rabbitmq(tmp_path) as server:
        await asyncio.to_thread(put, server.url, b"message")
        await server.stop()
        with pytest.raises(AMQPConnectionError):
            await asyncio.to_thread(taken, server.url)
        await server.start()
        assert await asyncio.to_thread(taken, server.url) == b"message"
        mine = [session(pid) for pid in (server.server.pid, server.names_pid) if pid]
        assert len(mine) == 2
        assert all(mine)
    leaders = [min(members) for members in mine]
    assert [session(leader) for leader in leaders] == [set(), set()]


async def test_it_lives_beside_another(tmp_path: Path, rabbitmq_server: Rabbitmq) -> None:
    async with rabbitmq(tmp_path) as other:
        await asyncio.to_thread(put, other.url, b"other")
        with pytest.raises(ProbableAuthenticationError):
            await asyncio.to_thread(
                taken, other.url.replace(other.password, rabbitmq_server.password)
            )
    await asyncio.to_thread(put, rabbitmq_server.url, b"mine")
    assert await asyncio.to_thread(taken, rabbitmq_server.url) == b"mine"


async def test_it_listens_on_loopback_alone(rabbitmq_server: Rabbitmq) -> None:
    for host in {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None)}:
        if not str(host).startswith("127.") and host != "::1":
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((str(host), rabbitmq_server.port), timeout=5)
