"""A real uvicorn server on a free port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn

#: For what was cancelled when the grace was over.
_LAST_S = 10.0


@asynccontextmanager
async def served(
    application: Any, *, lifespan: Literal["on", "off"] = "off", grace_s: int = 5
) -> AsyncIterator[int]:
    """Serve an ASGI application on the loopback; yields the port."""
    config = uvicorn.Config(
        application,
        http="httptools",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        try:
            await server.shutdown(sockets=[listener])
        finally:
            await _end(server.server_state)


async def _end(state: Any) -> None:
    """End what uvicorn leaves open when its grace is over: its own process would end then."""
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(set(state.tasks), timeout=_LAST_S)
    async with asyncio.timeout(_LAST_S):
        while state.connections:  # noqa: ASYNC110 # uvicorn does not tell when they are lost
            await asyncio.sleep(0)
