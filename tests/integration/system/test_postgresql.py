"""A PostgreSQL of the lab: what it keeps, whom it lets in, and what is left of it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from lab.processes import ProcessFailed
from lab.system.postgresql import Postgresql, postgresql
from tests.support.process_table import session


async def rows(url: str, *statements: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(url, connect_timeout=10) as connection:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await (await connection.execute(statements[-1])).fetchall()


async def test_a_restart_keeps_port_and_data(tmp_path: Path) -> None:
    async with postgresql(tmp_path) as server:
        url = await server.create_database("kept")
        await rows(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1) RETURNING a")
        client = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await server.stop()
        with pytest.raises(psycopg.OperationalError):
            await client.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await rows(url, "SELECT 1")
        await server.start()
        assert await rows(url, "SELECT a FROM t") == [(1,)]
        await client.close()


async def test_nothing_is_left_running(tmp_path: Path) -> None:
    async with postgresql(tmp_path) as server:
        pid, url = server.server.pid, server.url
        assert pid is not None
        assert pid in session(pid)
    assert session(pid) == set()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await rows(url, "SELECT 1")


async def test_only_the_password_opens_it(postgresql_server: Postgresql) -> None:
    wrong = postgresql_server.url.replace(postgresql_server.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await rows(wrong, "SELECT 1")
    (asked,) = await rows(postgresql_server.url, "SELECT inet_server_addr()::text")
    assert asked == ("127.0.0.1/32",)


async def test_a_database_is_a_copy_of_its_template(postgresql_server: Postgresql) -> None:
    original = await postgresql_server.create_database("original")
    await rows(original, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1) RETURNING a")
    copy = await postgresql_server.create_database("copy", template="original")
    assert await rows(copy, "SELECT a FROM t") == [(1,)]
    await postgresql_server.drop_database("copy")
    await postgresql_server.drop_database("original")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        await rows(copy, "SELECT 1")


@pytest.mark.parametrize("order", ["first", "second"])
async def test_each_test_has_an_empty_database(postgresql_database: str, order: str) -> None:
    found = await rows(
        postgresql_database,
        "CREATE TABLE of_a_test (a int)",
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
    )
    assert found == [(1,)]


async def test_a_start_that_fails_shows_the_server_s_own_words(tmp_path: Path) -> None:
    async with postgresql(tmp_path) as server:
        directory = server.server.directory
        await server.stop()
        (directory / "data" / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
        with pytest.raises(ProcessFailed, match="no_such_setting"):
            await server.start()
        assert server.server.pid is None
