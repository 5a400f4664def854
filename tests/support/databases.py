"""The gateway's database of each kind: tests of the store run on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from lab.system.postgresql import Postgresql
from resource_server.config import Role, Settings
from resource_server.store.connection import connection_settings


@contextmanager
def using(database: Mapping[str, Any]) -> Iterator[None]:
    """Have every thread of this process use another database; no event loop may run."""
    from resource_server.store.database import close_database

    usual = connections.databases["default"]
    connections["default"].close()
    asyncio.run(close_database())
    connections.databases["default"] = connections.configure_settings({"default": dict(database)})[
        "default"
    ]
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        asyncio.run(close_database())
        connections.databases["default"] = usual
        del connections["default"]


def let_go() -> None:
    """Wait for what still runs in the database's threads, and close them; no event loop may run.

    A call whose caller was cancelled would otherwise find itself in the next test.
    """
    from resource_server.store.database import close_database

    asyncio.run(close_database())


def postgresql_settings(url: str, state: Path, role: Role = Role.ALL) -> dict[str, Any]:
    """Return what Django is told of a PostgreSQL database."""
    settings = Settings(
        state_dir=state,
        secret_key="k" * 40,
        globus_client_file=state / "client.json",
        globus_clients_dir=state,
        database_url=url,
    )
    return connection_settings(settings, role)


def empty_tables() -> None:
    """Remove every row of the gateway's tables."""
    from django.apps import apps

    for table in apps.get_app_config("store").get_models():
        table._default_manager.all().delete()  # noqa: SLF001 - Django's name for it


@pytest.fixture(scope="session")
def migrated_postgresql(
    postgresql_server: Postgresql,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Return what Django is told of a PostgreSQL database with all tables."""
    from resource_server.store import schema

    url = asyncio.run(postgresql_server.create_database("migrated"))
    state = tmp_path_factory.mktemp("state")
    settings = postgresql_settings(url, state)
    with django_db_blocker.unblock(), using(settings):
        schema.migrate(state)
    return settings


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Empty the gateway's database of each kind, and allow its use."""
    if request.param == "sqlite":
        request.getfixturevalue("database")
        yield
        return
    settings = request.getfixturevalue("migrated_postgresql")
    with django_db_blocker.unblock(), using(settings):
        empty_tables()
        yield
