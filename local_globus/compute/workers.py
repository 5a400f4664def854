"""User endpoints: the processes that an endpoint starts, one per identity and configuration."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import time
import uuid
from typing import Any

from local_globus.auth.authority import Authority
from local_globus.auth.identities import described
from local_globus.compute import errors, names
from local_globus.compute.endpoints import EndpointStore
from local_globus.compute.link import Link, NotTaken
from local_globus.compute.topology import Topology
from local_globus.database import Database

logger = logging.getLogger(__name__)

#: How long a start command is given before it is sent again.
_START_AGAIN_S = 30.0
_USUAL_HEARTBEAT_S = 30.0
#: A start command survives a restart of the broker; else the tasks would wait for the next one.
_PERSISTENT = 2


def heartbeat_s(state: dict[str, Any]) -> float:
    """Return the seconds until the next heartbeat, as the sender of this one says."""
    period = state.get("heartbeat_period")
    return float(period) if isinstance(period, int | float) else _USUAL_HEARTBEAT_S


class Workers:
    """Know each user endpoint, and have it started when there is work and it is not alive."""

    def __init__(
        self,
        database: Database,
        authority: Authority,
        *,
        store: EndpointStore,
        link: Link,
        topology: Topology,
    ) -> None:
        self._database = database
        self._authority = authority
        self._endpoints = store
        self._link = link
        self._topology = topology

    async def ensure(self, endpoint_id: str, owner: str, wish: dict[str, Any]) -> str:
        """Return the id of the user endpoint for an identity and a configuration."""
        configuration = json.dumps(wish.get("user_endpoint_config") or {}, sort_keys=True)
        runtime = json.dumps(wish.get("user_runtime") or {})
        row = self._database.one(
            "UPDATE user_endpoints SET runtime = ?"
            " WHERE endpoint_id = ? AND owner = ? AND configuration = ? RETURNING id",
            runtime,
            endpoint_id,
            owner,
            configuration,
        )
        if row is not None:
            return str(row["id"])
        id_ = str(uuid.uuid4())
        digest = hashlib.sha256(f"{owner} {configuration}".encode()).hexdigest()[:12]
        self._database.run(
            "INSERT INTO user_endpoints (id, endpoint_id, owner, configuration, runtime, name)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            id_,
            endpoint_id,
            owner,
            configuration,
            runtime,
            f"uep.{endpoint_id}.{digest}",
        )
        try:
            await self._topology.add_worker(id_)
        except errors.ServiceError:
            self._database.run("DELETE FROM user_endpoints WHERE id = ?", id_)
            raise
        return id_

    def heard(self, worker_id: str, state: dict[str, Any]) -> bool:
        """Note a heartbeat; `False` if there is no such user endpoint."""
        alive = state.get("active") is not False and "error" not in state
        changed = self._database.run(
            "UPDATE user_endpoints SET heartbeat_s = ?, seen_at = ?, report = ? WHERE id = ?",
            heartbeat_s(state) if alive else 0.0,
            self._authority.clock.now(),
            json.dumps(state),
            worker_id,
        )
        return bool(changed)

    async def start_if_needed(self, worker_id: str) -> None:
        """Ask the endpoint to start a user endpoint, unless it lives or was just asked for."""
        row = self._database.one("SELECT * FROM user_endpoints WHERE id = ?", worker_id)
        now = self._authority.clock.now()
        if row is None or self._endpoints.online(row):
            return
        if now - row["start_sent_at"] < _START_AGAIN_S:
            return
        statement = "UPDATE user_endpoints SET start_sent_at = ? WHERE id = ?"
        self._database.run(statement, now, worker_id)
        try:
            await self._link.publish(
                "",
                names.commands(row["endpoint_id"]),
                body=json.dumps(self._start_command(row)).encode(),
                content_type="application/json",
                timestamp=int(time.time()),
                delivery_mode=_PERSISTENT,
                app_id="local_globus",
            )
        except NotTaken as error:
            # The next heartbeat of the endpoint, if there still is one, brings another attempt.
            logger.warning("start_not_queued", extra={"error": str(error)})

    async def start_waiting(self, endpoint_id: str) -> None:
        """Have every user endpoint of an endpoint started that has tasks waiting."""
        waiting = self._database.all(
            "SELECT DISTINCT w.id FROM user_endpoints w JOIN tasks t ON t.user_endpoint_id = w.id"
            " WHERE w.endpoint_id = ? AND t.status = 'pending'",
            endpoint_id,
        )
        for row in waiting:
            await self.start_if_needed(row["id"])

    async def declare_all(self) -> None:
        """Declare the queues of every endpoint and user endpoint."""
        for row in self._database.all("SELECT id FROM endpoints"):
            await self._topology.add_endpoint(row["id"])
        for row in self._database.all("SELECT id FROM user_endpoints"):
            await self._topology.add_worker(row["id"])

    def _start_command(self, row: sqlite3.Row) -> dict[str, Any]:
        account = self._authority.directory.account(row["owner"])
        return {
            "command": "cmd_start_endpoint",
            "args": [],
            "kwargs": {
                "name": row["name"],
                "user_opts": json.loads(row["configuration"]),
                "user_runtime": json.loads(row["runtime"]),
                "amqp_creds": self._topology.users.worker_queues(row["id"]),
            },
            "globus_effective_identity": account.primary.id,
            "globus_username": account.primary.username,
            "globus_identity_set": described(self._authority, account, None),
        }
