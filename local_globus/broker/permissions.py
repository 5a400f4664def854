"""What one user of the broker may do: consume from which queues, publish with which keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The rights of one user; nothing is allowed unless it is listed."""

    #: Names of queues; one that ends in `*` stands for every name that begins so.
    queues: tuple[str, ...] = ()
    #: Pairs of exchange and routing key.
    routes: tuple[tuple[str, str], ...] = ()
    everything: bool = False

    def may_consume(self, queue: str) -> bool:
        """Say whether the user may read a queue."""
        return self.everything or any(
            queue.startswith(name[:-1]) if name.endswith("*") else queue == name
            for name in self.queues
        )

    def may_publish(self, exchange: str, routing_key: str) -> bool:
        """Say whether the user may send a message this way."""
        return self.everything or (exchange, routing_key) in self.routes


EVERYTHING = Permissions(everything=True)


class Accounts(Protocol):
    """Who may connect."""

    def permissions(self, user: str, password: str) -> Permissions | None:
        """Return the rights of a user, or `None` if user or password are wrong."""
