"""A broker on a free port, and clients that speak to it with pika."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_globus.broker import EVERYTHING, Broker, Permissions


class Staff:
    """Accounts of a test: the owner `service`, and a worker with rights of its own."""

    def permissions(self, user: str, password: str) -> Permissions | None:
        if password != "right":
            return None
        if user == "service":
            return EVERYTHING
        return Permissions(queues=("own", "mine.*"), routes=(("results", "own"),))


class RunningBroker:
    """A broker that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = 0

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._broker = await Broker(self._folder / "broker.sqlite3", Staff(), listener).__aenter__()

    async def stop(self) -> None:
        await self._broker.__aexit__()

    def sweep(self) -> None:
        self._broker.sweep()

    def url(self, user: str = "service", word: str = "right") -> str:
        return f"amqp://{user}:{word}@127.0.0.1:{self.port}/%2F"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    running = RunningBroker(tmp_path)
    await running.start()
    yield running
    await running.stop()
