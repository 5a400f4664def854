"""The front door: opens the services with the process, hands them to each request, closes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from resource_server.api.auth import admit
from resource_server.api.body import Bodies, Uploads
from resource_server.api.errors import error_response
from resource_server.api.exchange import Receive, Send
from resource_server.api.handler import STALL_TIMEOUT_S, LeanHandler
from resource_server.api.inference import UPLOADS
from resource_server.api.keep_alive import KEEP_ALIVE_S
from resource_server.api.streamed_body import STREAM_TIMEOUT_S, StreamedBodies
from resource_server.services.gateway import Gateway


class FrontDoor:
    """The ASGI application. Django must be configured before one is made.

    `open_gateway` opens the services when the process starts, and closes them when it ends.
    """

    def __init__(
        self,
        open_gateway: Callable[[], AbstractAsyncContextManager[Gateway]],
        *,
        max_body_bytes: int,
        max_upload_bytes: int,
        streamed_timeout_s: float = STREAM_TIMEOUT_S,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._open_gateway = open_gateway
        self._http = LeanHandler(
            bodies=Bodies(
                max_bytes=max_body_bytes,
                uploads=Uploads(paths=UPLOADS, max_bytes=max_upload_bytes),
            ),
            error_response=error_response,
            admit=admit,
            streamed_bodies=StreamedBodies(timeout_s=streamed_timeout_s),
            stall_timeout_s=stall_timeout_s,
            keep_alive_s=keep_alive_s,
        )

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection, or the life of the process."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(scope, receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Open the services at start-up and close them at shut-down, in one task.

        What goes wrong at start-up is raised: the server logs it and exits.
        """
        await receive()
        async with self._open_gateway() as gateway:
            scope["state"]["gateway"] = gateway
            self._http.observer = gateway.observer
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
