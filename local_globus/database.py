"""What a local Globus remembers: one SQLite file, which survives a restart.

Statements run in the event loop. Each touches few rows of a file on the same machine, and with
write-ahead logging a commit costs tens of microseconds, less than the way to a thread and back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | bytes | int | float | None


class Database:
    """A connection that commits each statement, or each `transaction` block."""

    def __init__(self, path: Path, schema: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(schema)

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        self._connection.close()

    def run(self, statement: str, *values: Value) -> int:
        """Execute one statement and return the number of rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Sequence[Sequence[Value]]) -> None:
        """Execute one statement for each row."""
        self._connection.executemany(statement, rows)

    def one(self, query: str, *values: Value) -> sqlite3.Row | None:
        """Return the first row of a query."""
        row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return row

    def all(self, query: str, *values: Value) -> list[sqlite3.Row]:
        """Return every row of a query."""
        return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the statements of a block one change: all of them or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def remembered(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the value stored under a name, made and stored on first use."""
        value = self.recalled(name)
        if value is None:
            value = make()
            self.remember(name, value)
        return value

    def recalled(self, name: str) -> bytes | None:
        """Return the value stored under a name, if there is one."""
        row = self.one("SELECT value FROM remembered WHERE name = ?", name)
        return None if row is None else bytes(row["value"])

    def remember(self, name: str, value: bytes) -> None:
        """Store a value under a name."""
        self.run("INSERT OR REPLACE INTO remembered VALUES (?, ?)", name, value)
