"""PostgreSQL for the lab: a server with new data on a free port of loopback."""

from __future__ import annotations

import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from lab.processes import Command, output_of
from lab.system import account, loopback, packages
from lab.system.server import Launch, Server, environment

_USER = "hotnode"
_DATABASE = "postgres"
_INITDB_WITHIN_S = 60.0
_READY_WITHIN_S = 60.0
_QUERY_WITHIN_S = 30
#: In `postmaster.pid`: the process's id, and what it does.
_PID_LINE, _STATUS_LINE = 0, 7
#: The data outlive the server, not the machine; so nothing has to reach the disk.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgresql:
    """A running PostgreSQL."""

    port: int
    password: str
    server: Server

    @property
    def url(self) -> str:
        """The database that is there from the start, with name and password."""
        return self._url(_DATABASE)

    async def stop(self) -> None:
        """Stop the server as an operator does: connections are ended, data are kept."""
        await self.server.stop()

    async def start(self) -> None:
        """Start the server again on its port, with its data."""
        await self.server.start()

    async def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database, as a copy of `template`, and return its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        await self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self._url(name)

    async def drop_database(self, name: str) -> None:
        """Remove a database, and end the connections to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        await self._execute(statement.format(sql.Identifier(name)))

    async def _execute(self, statement: sql.Composed) -> None:
        options = f"-c statement_timeout={_QUERY_WITHIN_S}s"
        async with await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, connect_timeout=_QUERY_WITHIN_S, options=options
        ) as connection:
            await connection.execute(statement)

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}:{self.password}@{loopback.HOST}:{self.port}/{database}"


@asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[Postgresql]:
    """Run a new PostgreSQL beside the body; log and, where possible, data are in `folder`."""
    programs = packages.POSTGRESQL.find().parent
    who, log = account.unprivileged(), folder / "postgresql.log"
    password, port = secrets.token_urlsafe(24), loopback.free_port()
    with who.home(folder / "postgresql") as home:
        data = home / "data"
        await _initialise(programs, data, password=password, who=who, log=log)
        command = Command(
            name="PostgreSQL",
            # SIGINT ends the clients' connections; SIGTERM would wait for the clients to leave.
            arguments=who.run(
                str(programs / "postgres"),
                *("-D", str(data), "-h", loopback.HOST, "-p", str(port)),
                *(f"--{name}={value}" for name, value in _OPTIONS.items()),
                at_our_death=signal.SIGINT,
            ),
            log=log,
            environment=environment(home),
            directory=home,
            farewell=signal.SIGINT,
        )
        ready = partial(_accepts, data / "postmaster.pid")
        launch = Launch(directory=home, command=command, ready=ready, within_s=_READY_WITHIN_S)
        async with Server.started(launch) as server:
            yield Postgresql(port=port, password=password, server=server)


async def _initialise(
    programs: Path, data: Path, *, password: str, who: account.Account, log: Path
) -> None:
    passwords = data.parent / "password"
    passwords.touch(mode=0o600)
    passwords.write_text(password, encoding="ascii")
    who.give(passwords)
    command = Command(
        name="initdb",
        arguments=who.run(
            str(programs / "initdb"),
            *("-D", str(data), "-U", _USER, f"--pwfile={passwords}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
        ),
        log=log,
        environment=environment(data.parent),
        directory=data.parent,
    )
    try:
        await output_of(command, within_s=_INITDB_WITHIN_S)
    finally:
        passwords.unlink()


def _accepts(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    # The file of a server that was killed is still there.
    ours = len(lines) > _STATUS_LINE and lines[_PID_LINE].strip() == str(pid)
    return ours and lines[_STATUS_LINE].strip() == "ready"
