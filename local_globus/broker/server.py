"""The broker as a server: a listening socket, its connections and its store."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Self

from local_globus.broker.connection import Connection
from local_globus.broker.errors import ConnectionFault
from local_globus.broker.host import VirtualHost
from local_globus.broker.permissions import Accounts
from local_globus.broker.store import Store

_SWEEP_S = 30.0
_FAREWELL_S = 2.0


class Broker:
    """Accept clients between `async with` and its end; durable messages stay in `path`."""

    def __init__(self, path: Path, accounts: Accounts, listener: socket.socket) -> None:
        self._path = path
        self._accounts = accounts
        self._listener = listener
        self._connections: set[Connection] = set()
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Restore what is durable, then listen."""
        self._store = Store(self._path)
        self._host = VirtualHost(self._store)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=self._listener)
        self._sweeper = loop.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tell the clients to come back later, and close the store."""
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        self._server.close()
        for connection in self._connections:
            connection.close(ConnectionFault(320, "CONNECTION_FORCED - broker shuts down"))
        if self._connections:
            await self._all_gone()
        await self._server.wait_closed()
        self._store.close()

    def sweep(self) -> None:
        """Drop what has expired; this also happens twice a minute."""
        self._host.sweep()

    async def _all_gone(self) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    def _left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._gone.set()

    def _connection(self) -> Connection:
        connection = Connection(self._host, self._accounts, self._left)
        self._connections.add(connection)
        return connection

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep()
