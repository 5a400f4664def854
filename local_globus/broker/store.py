"""Durable queues, bindings and messages of the broker, in a SQLite file of its own."""

from __future__ import annotations

from pathlib import Path

from pika.spec import BasicProperties

from local_globus.broker.queues import Message, QueueOptions
from local_globus.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, message_ttl_s REAL, expires_s REAL);
CREATE TABLE IF NOT EXISTS exchanges (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS bindings (
  exchange TEXT, routing_key TEXT, queue TEXT, PRIMARY KEY (exchange, routing_key, queue)
);
CREATE TABLE IF NOT EXISTS messages (
  number INTEGER PRIMARY KEY, queue TEXT NOT NULL, exchange TEXT NOT NULL,
  routing_key TEXT NOT NULL, properties BLOB NOT NULL, body BLOB NOT NULL, arrived_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_queue ON messages (queue);
"""


class Store:
    """What the broker must not forget when it restarts."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add(self, queue: str, message: Message) -> int:
        """Keep a message and return its number."""
        row = self._database.one(
            "INSERT INTO messages (queue, exchange, routing_key, properties, body, arrived_at)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
            queue,
            message.exchange,
            message.routing_key,
            b"".join(message.properties.encode()),
            message.body,
            message.arrived_at,
        )
        if row is None:
            text = "SQLite returned no number for a message"
            raise RuntimeError(text)
        return int(row["number"])

    def remove(self, number: int) -> None:
        """Forget a message."""
        self._database.run("DELETE FROM messages WHERE number = ?", number)

    def add_queue(self, name: str, options: QueueOptions) -> None:
        """Keep a queue."""
        self._database.run(
            "INSERT OR REPLACE INTO queues VALUES (?, ?, ?)",
            name,
            options.message_ttl_s,
            options.expires_s,
        )

    def remove_queue(self, name: str) -> None:
        """Forget a queue with its bindings and messages."""
        with self._database.transaction():
            self._database.run("DELETE FROM messages WHERE queue = ?", name)
            self._database.run("DELETE FROM bindings WHERE queue = ?", name)
            self._database.run("DELETE FROM queues WHERE name = ?", name)

    def add_exchange(self, name: str) -> None:
        """Keep an exchange."""
        self._database.run("INSERT OR IGNORE INTO exchanges VALUES (?)", name)

    def add_binding(self, exchange: str, routing_key: str, queue: str) -> None:
        """Keep a binding."""
        self._database.run(
            "INSERT OR IGNORE INTO bindings VALUES (?, ?, ?)", exchange, routing_key, queue
        )

    def queues(self) -> dict[str, QueueOptions]:
        """Return the queues that were kept."""
        return {
            row["name"]: QueueOptions(
                durable=True, message_ttl_s=row["message_ttl_s"], expires_s=row["expires_s"]
            )
            for row in self._database.all("SELECT * FROM queues")
        }

    def exchanges(self) -> list[str]:
        """Return the exchanges that were kept."""
        return [row["name"] for row in self._database.all("SELECT name FROM exchanges")]

    def bindings(self) -> list[tuple[str, str, str]]:
        """Return the bindings that were kept, each exchange, routing key and queue."""
        rows = self._database.all("SELECT exchange, routing_key, queue FROM bindings")
        return [(row["exchange"], row["routing_key"], row["queue"]) for row in rows]

    def messages(self, queue: str) -> list[Message]:
        """Return the messages of a queue in their order."""
        rows = self._database.all("SELECT * FROM messages WHERE queue = ? ORDER BY number", queue)
        return [
            Message(
                exchange=row["exchange"],
                routing_key=row["routing_key"],
                properties=BasicProperties().decode(row["properties"]),
                body=row["body"],
                stored_as=row["number"],
                redelivered=True,
                arrived_at=row["arrived_at"],
            )
            for row in rows
        ]
