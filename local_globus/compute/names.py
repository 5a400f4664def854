"""Names of exchanges, queues and broker users, and what each user may do with which."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any
from urllib.parse import quote, urlsplit

from local_globus.broker import EVERYTHING, Permissions
from local_globus.database import Database

TASKS = "tasks"
RESULTS = "results"
HEARTBEATS = "heartbeats"
#: The queues that the service itself reads.
RESULT_QUEUE = "service.results"
HEARTBEAT_QUEUE = "service.heartbeats"
SERVICE_USER = "service"

_PERSISTENT = 2


def commands(endpoint_id: str) -> str:
    """Return the queue from which an endpoint learns what to start."""
    return f"{endpoint_id}.commands"


def tasks(user_endpoint_id: str) -> str:
    """Return the queue from which a user endpoint gets its tasks."""
    return f"{user_endpoint_id}.tasks"


def results(user_endpoint_id: str) -> str:
    """Return the routing key with which a user endpoint sends results."""
    return f"{user_endpoint_id}.results"


def heartbeats(endpoint_id: str) -> str:
    """Return the routing key with which an endpoint says that it lives."""
    return f"{endpoint_id}.heartbeats"


def sender(routing_key: str) -> str:
    """Return the endpoint that a routing key belongs to."""
    return routing_key.rpartition(".")[0]


def group_prefix(identity_id: str) -> str:
    """Return what the result queues of an identity's task groups begin with."""
    return f"tg.{identity_id}."


class BrokerUsers:
    """Credentials for the broker, derived from one remembered key so that they stay the same.

    With an external broker every party gets the one URL it was configured with, and the rights
    below are not enforced.
    """

    def __init__(
        self, database: Database, *, address: str = "", external: str | None = None
    ) -> None:
        self._key = database.remembered("broker key", lambda: secrets.token_bytes(32))
        self._database = database
        self._external = external
        self._address = address

    def url(self, user: str) -> str:
        """Return the URL with which a user connects."""
        if self._external is not None:
            return self._external
        return f"amqp://{quote(user)}:{self._password(user)}@{self._address}/%2F"

    @property
    def address(self) -> str:
        """Where the broker listens, without credentials."""
        if self._external is None:
            return f"amqp://{self._address}/%2F"
        parts = urlsplit(self._external)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def permissions(self, user: str, password: str) -> Permissions | None:
        """Return what a user may do, or `None` if it cannot log in."""
        if not hmac.compare_digest(self._password(user), password):
            return None
        if user == SERVICE_USER:
            return EVERYTHING
        role, _, id_ = user.partition(".")
        if role == "identity":
            return Permissions(queues=(group_prefix(id_) + "*",))
        table = {"endpoint": "endpoints", "worker": "user_endpoints"}[role]
        if self._database.one(f"SELECT 1 FROM {table} WHERE id = ?", id_) is None:  # noqa: S608 - one of two constants
            return None
        alive = (HEARTBEATS, heartbeats(id_))
        if role == "endpoint":
            return Permissions(queues=(commands(id_),), routes=(alive,))
        return Permissions(queues=(tasks(id_),), routes=(alive, (RESULTS, results(id_))))

    def _password(self, user: str) -> str:
        digest = hmac.digest(self._key, user.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def command_queue(self, endpoint_id: str) -> dict[str, Any]:
        """Return where an endpoint listens for commands."""
        url = self.url(f"endpoint.{endpoint_id}")
        return {"connection_url": url, "queue": commands(endpoint_id)}

    def endpoint_heartbeats(self, endpoint_id: str) -> dict[str, Any]:
        """Return where an endpoint sends heartbeats."""
        url = self.url(f"endpoint.{endpoint_id}")
        return _outlet(url, HEARTBEATS, HEARTBEAT_QUEUE, heartbeats(endpoint_id))

    def worker_queues(self, user_endpoint_id: str) -> dict[str, Any]:
        """Return the queues of a user endpoint as the start command carries them."""
        id_, url = user_endpoint_id, self.url(f"worker.{user_endpoint_id}")
        return {
            "endpoint_id": id_,
            "task_queue_info": {"connection_url": url, "exchange": TASKS, "queue": tasks(id_)},
            "result_queue_info": _outlet(url, RESULTS, RESULT_QUEUE, results(id_)),
            "heartbeat_queue_info": _outlet(url, HEARTBEATS, HEARTBEAT_QUEUE, heartbeats(id_)),
        }


def _outlet(url: str, exchange: str, queue: str, key: str) -> dict[str, Any]:
    return {
        "connection_url": url,
        "exchange": exchange,
        "queue": queue,
        "queue_publish_kwargs": {
            "exchange": exchange,
            "routing_key": key,
            "mandatory": True,
            "properties": {"delivery_mode": _PERSISTENT if exchange == RESULTS else 1},
        },
    }
