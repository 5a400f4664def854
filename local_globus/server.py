"""A local Globus as a running server: put together, started, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp
from typing_extensions import override

from local_globus import controls, groups, seed
from local_globus.auth import application as auth
from local_globus.auth.authority import Authority
from local_globus.auth.clients import ClientSecrets
from local_globus.auth.consents import ConsentStore
from local_globus.auth.sessions import SessionStore
from local_globus.auth.signing import SigningKey
from local_globus.auth.tokens import TokenStore
from local_globus.broker import Broker
from local_globus.clock import Clock
from local_globus.compute import application as compute
from local_globus.compute.limits import DOCUMENTED, Limits
from local_globus.compute.names import BrokerUsers
from local_globus.database import Database
from local_globus.directory import Directory

DEFAULT_TOKEN_LIFETIME_S = 172_800
#: Where other processes learn the addresses; it exists while the server answers.
READY_FILE = "ready.json"
_HOUSEKEEPING_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a local Globus is to run; port 0 means the port of the last time, or any free one."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    amqp_port: int = 0
    amqp_url: str | None = None
    seed: Path | None = None
    limits: Limits = DOCUMENTED
    token_lifetime_s: int = DEFAULT_TOKEN_LIFETIME_S
    test_controls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where a local Globus can be reached."""

    url: str
    amqp_url: str

    def write(self, path: Path) -> None:
        """Tell other processes, in a file that appears complete."""
        content = {"url": self.url, "amqp_url": self.amqp_url, "pid": os.getpid()}
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(content), "utf-8")
        draft.replace(path)


class AlreadyRunning(Exception):
    """Another local Globus runs with the same state."""

    def __init__(self, state: Path) -> None:
        self.state = state
        super().__init__(f"Another local Globus runs with the state in {state}")


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(options: Options, stop: asyncio.Event, ready: Callable[[Running], None]) -> None:
    """Run until `stop` is set; `ready` is called once everything answers."""
    options.state.mkdir(parents=True, exist_ok=True)
    # The databases hold keys; nobody else is to read them.
    options.state.chmod(0o700)
    schema = resources.files("local_globus").joinpath("schema.sql").read_text("utf-8")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_alone(options.state))
        ready_file = options.state / READY_FILE
        ready_file.unlink(missing_ok=True)
        stack.callback(ready_file.unlink, missing_ok=True)
        database = Database(options.state / "globus.sqlite3", schema)
        stack.callback(database.close)
        web = stack.enter_context(_listener(database, "http port", (options.host, options.port)))
        users = await _brokered(options, database, stack)
        url = f"http://{_address(web)}"
        authority = _authority(options, database, url)
        service = compute.service(database, authority, users=users, limits=options.limits)
        server = _server(_application(options, authority, service))
        async with asyncio.TaskGroup() as group:
            working = [
                group.create_task(service.run()),
                group.create_task(_forget_expired(authority.tokens)),
            ]
            await service.link.ready()
            serving = group.create_task(server.serve(sockets=[web]))
            await server.listening.wait()
            running = Running(url=url, amqp_url=users.address)
            running.write(ready_file)
            ready(running)
            await stop.wait()
            server.should_exit = True
            await serving
            for task in working:
                task.cancel()


async def _brokered(
    options: Options, database: Database, stack: contextlib.AsyncExitStack
) -> BrokerUsers:
    if options.amqp_url is not None:
        return BrokerUsers(database, external=options.amqp_url)
    listener = _listener(database, "amqp port", (options.host, options.amqp_port))
    users = BrokerUsers(database, address=_address(stack.enter_context(listener)))
    await stack.enter_async_context(Broker(options.state / "broker.sqlite3", users, listener))
    return users


async def _forget_expired(tokens: TokenStore) -> None:
    while True:
        tokens.forget_expired()
        await asyncio.sleep(_HOUSEKEEPING_S)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(state) from error
        yield


def _listener(database: Database, name: str, address: tuple[str, int]) -> socket.socket:
    host, port = address
    last = database.recalled(name)
    listener = None
    if port == 0 and last is not None:
        # Agents keep the address that they were given, so it should survive a restart.
        with contextlib.suppress(OSError):
            listener = socket.create_server((host, int(last)))
    listener = listener or socket.create_server((host, port))
    # Inherited by each connection; asyncio does not set it for a socket that it did not make.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    database.remember(name, str(listener.getsockname()[1]).encode())
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"


def _authority(options: Options, database: Database, url: str) -> Authority:
    directory, clock = Directory(seed.load(options.seed)), Clock()
    return Authority(
        base_url=url,
        clock=clock,
        directory=directory,
        clients=ClientSecrets(options.state / "clients", directory),
        consents=ConsentStore(database, clock),
        sessions=SessionStore(database, clock),
        signing=SigningKey(database),
        tokens=TokenStore(database, clock, lifetime_s=options.token_lifetime_s),
    )


def _application(
    options: Options, authority: Authority, service: compute.ComputeService
) -> Starlette:
    applications: dict[str, ASGIApp] = {
        "auth": auth.application(authority),
        "groups": groups.application(authority),
        "compute": service.application,
    }
    routes: list[BaseRoute] = []
    if options.test_controls:
        weather = {name: controls.Weather() for name in applications}
        routes.append(Mount("/_local", controls.application(authority, weather)))
        applications = {
            name: controls.WithWeather(application, weather[name])
            for name, application in applications.items()
        }
    routes += [
        Mount("/auth", applications["auth"]),
        Mount("/groups", applications["groups"]),
        Mount("/", applications["compute"]),
    ]
    # With the proxy setting of `environment`, requests for other hosts would arrive here too.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", options.host])
    return Starlette(routes=routes, middleware=[hosts])


def _server(application: Starlette) -> _Server:
    # httptools, because h11 does not understand requests that a client sends to a proxy.
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=3,
    )
    return _Server(config)
