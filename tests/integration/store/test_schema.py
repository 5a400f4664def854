"""Migrations: by several processes at once, and never by a version that is too old."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import DjangoDbBlocker

from resource_server.config import Role
from resource_server.domain.errors import SchemaUnfit
from resource_server.store import schema
from resource_server.store.connection import connection_settings
from tests.conftest import gateway_settings
from tests.support.databases import postgresql_settings, using


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Return the URL of an empty database; None is SQLite."""
    if request.param == "sqlite":
        return None
    found: str = request.getfixturevalue("postgresql_database")
    return found


@pytest.fixture
def empty(url: str | None, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Have this process use an empty database."""
    settings = connection_settings(gateway_settings(tmp_path, database_url=url), Role.ALL)
    with django_db_blocker.unblock(), using(settings):
        yield


def migration_process(url: str | None, state: Path) -> dict[str, str]:
    settings = gateway_settings(state, database_url=url)
    values = {
        "STATE_DIR": str(state),
        "SECRET_KEY": "k" * 40,
        "GLOBUS_CLIENT_FILE": str(settings.globus_client_file),
        "GLOBUS_CLIENTS_DIR": str(state),
    } | ({"DATABASE_URL": url} if url else {})
    return os.environ | {f"HOTNODE_{name}": value for name, value in values.items()}


async def test_four_processes_may_migrate_at_once(url: str | None, tmp_path: Path) -> None:
    environment = migration_process(url, tmp_path)
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "resource_server", "migrate"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(4)
    ]
    said = [(await process.communicate())[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    applied = [text.count("Applying store.") for text in said]
    assert sorted(applied)[:3] == [0, 0, 0]
    assert sum(applied) > 0


@pytest.mark.usefixtures("database")
def test_the_migrations_make_the_tables_that_the_code_describes() -> None:
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)


@pytest.mark.usefixtures("empty")
def test_an_empty_database_is_refused_unless_it_may_be_migrated(tmp_path: Path) -> None:
    with pytest.raises(SchemaUnfit, match=r"0001_catalog.*hotnode migrate"):
        schema.require_up_to_date()
    schema.migrate(tmp_path)
    schema.require_up_to_date()


@pytest.mark.usefixtures("empty")
def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    schema.migrate(tmp_path)
    MigrationRecorder(connection).record_applied("store", "9999_from_the_future")
    for check in (schema.require_up_to_date, lambda: schema.migrate(tmp_path)):
        with pytest.raises(SchemaUnfit, match=r"9999_from_the_future.*Install that version"):
            check()


@pytest.mark.usefixtures("empty")
def test_one_that_migrates_without_end_is_an_error(url: str | None, tmp_path: Path) -> None:
    if url is None:
        with (tmp_path / "migrate.lock").open("w") as other:
            fcntl.flock(other.fileno(), fcntl.LOCK_EX)
            with pytest.raises(SchemaUnfit, match="Another process"):
                schema.migrate(tmp_path, timeout_s=0.2)
    else:
        with psycopg.connect(url, autocommit=True) as other_process:
            number = int.from_bytes(b"hotnode", "big")
            other_process.execute("SELECT pg_advisory_lock(%s)", [number])
            with pytest.raises(SchemaUnfit, match="Another process"):
                schema.migrate(tmp_path, timeout_s=0.2)
    schema.migrate(tmp_path)


def test_a_database_that_is_away_is_named_without_its_password(
    tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    url = "postgresql://hotnode:hush@127.0.0.1:1/hotnode"
    settings = postgresql_settings(url, tmp_path)
    settings["OPTIONS"]["pool"]["timeout"] = 0.5
    with (
        django_db_blocker.unblock(),
        using(settings),
        pytest.raises(SchemaUnfit, match="cannot be used") as caught,
    ):
        schema.require_up_to_date()
    assert "hush" not in caught.value.message
