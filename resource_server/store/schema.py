"""Brings the tables up to date, one process at a time, and tells whether they are."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from resource_server.domain import errors
from resource_server.store.apps import StoreConfig
from resource_server.store.database import close_pool

#: Seconds to wait for another process that migrates: a large table takes its time.
LOCK_TIMEOUT_S = 600.0
_POLL_S = 0.1
#: The number of our lock in a PostgreSQL database: "hotnode" as ASCII.
_ADVISORY_LOCK = int.from_bytes(b"hotnode", "big")


def migrate(state_dir: Path, *, verbosity: int = 0, timeout_s: float = LOCK_TIMEOUT_S) -> None:
    """Apply the migrations that are missing; several processes may ask for it at once.

    Raises `SchemaUnfit` if the tables belong to a newer version, or another process does not come
    to an end.
    """
    with _connected(), _one_at_a_time(state_dir, timeout_s):
        _refuse_newer(MigrationLoader(connection))
        call_command("migrate", interactive=False, verbosity=verbosity)


def require_up_to_date() -> None:
    """Raise `SchemaUnfit` if the tables are older or newer than the code."""
    with _connected():
        loader = MigrationLoader(connection)
        _refuse_newer(loader)
        missing = sorted(set(loader.disk_migrations) - set(loader.applied_migrations))
        if missing:
            names = ", ".join(name for _, name in missing)
            raise errors.SchemaUnfit(
                f"The database lacks the migrations {names}. Run: hotnode migrate"
            )


def _refuse_newer(loader: MigrationLoader) -> None:
    ours = {name for app, name in loader.disk_migrations or {} if app == StoreConfig.label}
    applied = {name for app, name in loader.applied_migrations if app == StoreConfig.label}
    if foreign := sorted(applied - ours):
        raise errors.SchemaUnfit(
            f"The database belongs to a newer version of the gateway: it has the migrations "
            f"{', '.join(foreign)}, which this version does not know. Install that version, or "
            "restore the database from before its migration."
        )


@contextmanager
def _connected() -> Iterator[None]:
    """Report a database that cannot be reached in words, and leave no connection behind."""
    try:
        yield
    except DatabaseError as error:
        raise errors.SchemaUnfit(f"The database cannot be used: {error}") from error
    finally:
        connection.close()
        close_pool()


@contextmanager
def _one_at_a_time(state_dir: Path, timeout_s: float) -> Iterator[None]:
    if connection.vendor != "postgresql":
        with (state_dir / "migrate.lock").open("w", encoding="ascii") as file:
            _wait(lambda: _file_locked(file.fileno()), timeout_s)
            yield
        return
    with connection.cursor() as cursor:
        # A migration may take longer than any query that serves a request.
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    _wait(_advisory_locked, timeout_s)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
            cursor.execute("RESET statement_timeout; RESET idle_in_transaction_session_timeout")


def _wait(locked: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not locked():
        if time.monotonic() > deadline:
            raise errors.SchemaUnfit(
                f"Another process has been migrating the database for {timeout_s:.0f} s."
            )
        time.sleep(_POLL_S)


def _file_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _advisory_locked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
        (locked,) = cursor.fetchone()
    return bool(locked)
