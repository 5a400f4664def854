"""One process of the gateway: serves HTTP, or is the hub or the controller, until told to stop.

Django must be configured before this is imported.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from pathlib import Path

import structlog
import uvicorn
import uvloop
from typing_extensions import override

from resource_server.adapters import systemd
from resource_server.asgi import FrontDoor
from resource_server.config import Role, Settings
from resource_server.container import open_controller_process, open_gateway, open_hub
from resource_server.listener import BACKLOG, announced, bind
from resource_server.startup import GRACE_S, spare_the_collector

log = structlog.get_logger()


def run(settings: Settings, role: Role, inherited: int | None = None) -> int:
    """Be one process of the gateway until told to stop; return the exit status.

    `inherited` is an open file on which a web process listens; without it, it opens its own.
    """
    if role in (Role.ALL, Role.WEB):
        return _serve_http(settings, role, inherited)
    opened = open_hub if role is Role.HUB else open_controller_process
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_told(partial(opened, settings), role))
    return 0


def _serve_http(settings: Settings, role: Role, inherited: int | None) -> int:
    config = uvicorn.Config(
        FrontDoor(
            partial(open_gateway, settings, role),
            max_body_bytes=settings.max_body_bytes,
            max_upload_bytes=settings.max_upload_bytes,
            streamed_timeout_s=settings.files_upload_timeout_s,
        ),
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )
    # Single web processes share the directory, and the file in it has one name.
    server = Server(config, settings.state_dir if role is Role.ALL else None)
    server.run([bind(settings) if inherited is None else socket.socket(fileno=inherited)])
    return 0 if server.started else 1


class Server(uvicorn.Server):
    """A server that says when it accepts requests; where, in a file of `state_dir`, if it may."""

    def __init__(self, config: uvicorn.Config, state_dir: Path | None = None) -> None:
        super().__init__(config)
        self._state_dir = state_dir
        self._announcement = ExitStack()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        spare_the_collector()
        if self._state_dir is not None and sockets:
            self._announcement.enter_context(announced(self._state_dir, sockets[0]))
        systemd.notify_ready()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            systemd.notify_stopping()
            self._announcement.close()
        finally:
            await super().shutdown(sockets)


async def _serve_until_told(
    opened: Callable[[], AbstractAsyncContextManager[None]], role: Role
) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with opened():
        spare_the_collector()
        log.info("process_serves", role=role)
        systemd.notify_ready()
        await told.wait()
        systemd.notify_stopping()
    log.info("process_ends", role=role)
