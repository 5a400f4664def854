"""Redis for the lab: a server of its own on a free port of loopback, without persistence."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.processes import Command
from lab.system import account, loopback, packages
from lab.system.server import Launch, Server, environment

_READY_WITHIN_S = 30.0
_PING_WITHIN_S = 1.0
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
daemonize no
save ""
appendonly no
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """A running Redis."""

    port: int
    password: str
    server: Server

    @property
    def url(self) -> str:
        """Database 0, with the password."""
        return f"redis://:{self.password}@{loopback.HOST}:{self.port}/0"

    async def stop(self) -> None:
        """Stop the server; what it held is lost."""
        await self.server.stop()

    async def start(self) -> None:
        """Start the server again on its port, empty."""
        await self.server.start()


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Redis]:
    """Run a Redis beside the body; its configuration and log are in `folder`."""
    program = packages.REDIS.find()
    password, port = secrets.token_urlsafe(24), loopback.free_port()
    home = folder / "redis"
    configuration = home / "redis.conf"
    home.mkdir(parents=True, exist_ok=True)
    # A file, because everybody on the machine can read a command line.
    configuration.touch(mode=0o600)
    configuration.write_text(
        _CONFIGURATION.format(host=loopback.HOST, port=port, password=password, folder=home),
        encoding="utf-8",
    )
    command = Command(
        name="Redis",
        arguments=account.current().run(str(program), str(configuration)),
        log=folder / "redis.log",
        environment=environment(home),
        directory=home,
    )
    ready = partial(_answers, port, password)
    launch = Launch(directory=home, command=command, ready=ready, within_s=_READY_WITHIN_S)
    async with Server.started(launch) as server:
        yield Redis(port=port, password=password, server=server)


def _answers(port: int, password: str, _pid: int) -> bool:
    # With the password, so that no other server is taken for ours.
    asked, wanted = f"AUTH {password}\r\nPING\r\n", b"+OK\r\n+PONG\r\n"
    try:
        with socket.create_connection((loopback.HOST, port), timeout=_PING_WITHIN_S) as client:
            client.sendall(asked.encode("ascii"))
            return client.recv(len(wanted), socket.MSG_WAITALL) == wanted
    except OSError:
        return False
