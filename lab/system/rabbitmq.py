"""RabbitMQ for the lab: a node of its own on free ports of loopback, with a name server of its own.

Erlang nodes find each other through `epmd`, which the first of them starts and nobody stops. So the
lab runs one for each RabbitMQ, as a child like any other.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lab.processes import Command, running
from lab.system import account, loopback, packages
from lab.system.server import Launch, Server, environment

_USER = "hotnode"
_READY_WITHIN_S = 90.0
_NAMES_WITHIN_S = 10.0
_GREETING_WITHIN_S = 1.0
#: A client begins with the first; a broker that is ready answers on channel 0 with a method.
_HELLO, _START = b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"
#: Runs nothing but the broker; the schedulers do not spin while they wait.
_ERLANG = (
    "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} "
    "+sbwt none +sbwtdcpu none +sbwtdio none"
)
_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
default_vhost = /
log.console = true
log.console.level = info
log.file = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rabbitmq:
    """A running RabbitMQ."""

    port: int
    password: str
    server: Server
    #: The process of its name server.
    names_pid: int

    @property
    def url(self) -> str:
        """The virtual host `/`, for a user who may do everything in it."""
        return f"amqp://{_USER}:{self.password}@{loopback.HOST}:{self.port}/%2F"

    async def stop(self) -> None:
        """Stop the node; durable queues and persistent messages are kept."""
        await self.server.stop()

    async def start(self) -> None:
        """Start the node again on its port, with what it kept."""
        await self.server.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """The ports of a node, and its files."""

    home: Path
    log: Path
    program: Path
    port: int = field(default_factory=loopback.free_port)
    distribution_port: int = field(default_factory=loopback.free_port)
    names_port: int = field(default_factory=loopback.free_port)

    def prepare(self, password: str) -> None:
        """Write what only the node itself may read."""
        self.home.mkdir(parents=True, exist_ok=True)
        configuration = _CONFIGURATION.format(
            host=loopback.HOST, port=self.port, user=_USER, password=password
        )
        self._write(self.home / "rabbitmq.conf", configuration)
        self._write(self.home / ".erlang.cookie", secrets.token_hex(24))
        self._write(self.home / "enabled_plugins", "[].")
        self._write(self.home / "rabbitmq-env.conf", "")

    def names(self) -> Command:
        """Return the name server's command; it stays in the foreground."""
        return Command(
            name="epmd",
            arguments=account.current().run("epmd"),
            log=self.log,
            environment=self._environment(),
            directory=self.home,
        )

    def command(self) -> Command:
        """Return the node's own command."""
        return Command(
            name="RabbitMQ",
            arguments=account.current().run(str(self.program)),
            log=self.log,
            environment=self._environment(),
            directory=self.home,
        )

    def _environment(self) -> Mapping[str, str]:
        # Nothing of /etc/rabbitmq and /var/lib/rabbitmq, where another node may live, is used.
        return {
            **environment(self.home),
            "ERL_EPMD_ADDRESS": loopback.HOST,
            "ERL_EPMD_PORT": str(self.names_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.home / "generated"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_NODENAME": f"hotnode-{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(self.home / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")


@asynccontextmanager
async def rabbitmq(folder: Path) -> AsyncIterator[Rabbitmq]:
    """Run a new RabbitMQ beside the body; its data and its log are in `folder`."""
    node = _Node(
        home=folder / "rabbitmq", log=folder / "rabbitmq.log", program=packages.RABBITMQ.find()
    )
    password = secrets.token_urlsafe(24)
    node.prepare(password)
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(running(node.names()))
        await names.until(partial(_listens, node.names_port), within_s=_NAMES_WITHIN_S)
        ready = partial(_greets, node.port)
        launch = Launch(
            directory=node.home, command=node.command(), ready=ready, within_s=_READY_WITHIN_S
        )
        server = await stack.enter_async_context(Server.started(launch))
        yield Rabbitmq(port=node.port, password=password, server=server, names_pid=names.pid)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((loopback.HOST, port), timeout=_GREETING_WITHIN_S).close()
    except OSError:
        return False
    return True


def _greets(port: int, _pid: int) -> bool:
    try:
        with socket.create_connection((loopback.HOST, port), _GREETING_WITHIN_S) as client:
            client.sendall(_HELLO)
            return client.recv(len(_START), socket.MSG_WAITALL) == _START
    except OSError:
        return False
