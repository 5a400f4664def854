"""Runs one server of the comparison: the same uvicorn for all, on a port that it prints."""

from __future__ import annotations

import socket
from typing import Any, Literal

import uvicorn

ROUTE = "resource_server/local/vllm/v1/chat/completions"
ENGINE_PATH = "/v1/chat/completions"


def serve(
    application: Any,  # noqa: ANN401 - any ASGI application
    *,
    lifespan: Literal["on", "off"],
) -> None:
    """Serve until the process is told to stop."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        lifespan=lifespan,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
