"""What a restart of PostgreSQL does to calls of the database: broken connections, and none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from resource_server.domain import errors
from resource_server.store.catalog import CatalogTables
from resource_server.store.database import in_database, read_database
from tests.support.databases import postgresql_settings, using


@pytest.fixture
def own_database(
    postgresql_database: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    with (
        django_db_blocker.unblock(),
        using(postgresql_settings(postgresql_database, tmp_path)),
    ):
        yield postgresql_database


@pytest.fixture
def nobody(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Have no server where one should be."""
    settings = postgresql_settings("postgresql://hotnode@127.0.0.1:1/hotnode", tmp_path)
    settings["OPTIONS"]["pool"]["timeout"] = 0.5
    with django_db_blocker.unblock(), using(settings):
        yield


def ask(question: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


class QuestionThatIsCutOff:
    """Loses its connection while it runs for the first time, as when the server restarts."""

    def __init__(self, url: str) -> None:
        self.calls = 0
        self._url = url

    def __call__(self) -> int:
        self.calls += 1
        backend = ask("SELECT pg_backend_pid()")
        if self.calls == 1:
            with psycopg.connect(self._url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
        found: int = ask("SELECT 7")
        return found


async def test_a_read_is_done_once_more(own_database: str) -> None:
    question = QuestionThatIsCutOff(own_database)
    assert await read_database(question) == 7
    assert question.calls == 2


async def test_a_write_is_not(own_database: str) -> None:
    question = QuestionThatIsCutOff(own_database)
    with pytest.raises(errors.DatabaseUnavailable):
        await in_database(question)
    assert question.calls == 1
    assert await in_database(ask, "SELECT 8") == 8


async def test_a_connection_that_broke_between_calls_is_replaced(own_database: str) -> None:
    first = await in_database(ask, "SELECT pg_backend_pid()")
    with psycopg.connect(own_database) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [first])
    assert await in_database(ask, "SELECT pg_backend_pid()") != first


@pytest.mark.usefixtures("own_database")
async def test_operators_see_who_asks_and_no_question_lasts_for_ever() -> None:
    assert await in_database(ask, "SHOW application_name") == "hotnode-all"
    assert await in_database(ask, "SHOW statement_timeout") == "9s"


@pytest.mark.usefixtures("nobody")
async def test_a_server_that_is_away_is_an_error_that_invites_to_repeat() -> None:
    with pytest.raises(errors.DatabaseUnavailable) as caught:
        await in_database(ask, "SELECT 1")
    assert caught.value.retry_after_s is not None
    assert not await CatalogTables().available()
