"""A real uvicorn server on a free port, in the test's own event loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def served(
    application: Any, *, lifespan: str = "off", grace_s: int = 5
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
        await server.shutdown(sockets=[listener])
