"""Registered endpoints: who owns them, who may send them tasks, and whether they are alive."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.clock import Clock
from local_globus.compute import errors
from local_globus.compute.callers import Caller, Callers
from local_globus.compute.limits import Limits, json_body
from local_globus.compute.topology import Topology
from local_globus.database import Database

#: An endpoint is offline when it has been silent for so many of its heartbeats.
_MISSED_HEARTBEATS = 2.5
_LOCK_S = 5.0


class EndpointStore:
    """What is known of each endpoint."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._deaf_since: float | None = None

    def get(self, endpoint_id: str) -> sqlite3.Row:
        """Return an endpoint, or refuse."""
        row = self._database.one("SELECT * FROM endpoints WHERE id = ?", endpoint_id)
        if row is None:
            raise errors.endpoint_not_found(endpoint_id)
        return row

    def all(self) -> list[sqlite3.Row]:
        """Return every endpoint."""
        return self._database.all("SELECT * FROM endpoints")

    def register(self, endpoint_id: str, caller: Caller, registration: dict[str, Any]) -> None:
        """Keep a new registration; an endpoint stays with its first owner."""
        known = self._database.one("SELECT owner FROM endpoints WHERE id = ?", endpoint_id)
        if known is not None and known["owner"] not in caller.ids:
            raise errors.endpoint_already_registered(endpoint_id)
        self._database.run(
            "INSERT INTO endpoints (id, owner, registration) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET registration = excluded.registration",
            endpoint_id,
            caller.id,
            json.dumps(registration),
        )

    def delete(self, endpoint_id: str) -> None:
        """Forget an endpoint and its user endpoints."""
        self._database.run("DELETE FROM endpoints WHERE id = ?", endpoint_id)

    def workers(self, endpoint_id: str) -> list[str]:
        """Return the ids of an endpoint's user endpoints."""
        query = "SELECT id FROM user_endpoints WHERE endpoint_id = ?"
        return [row["id"] for row in self._database.all(query, endpoint_id)]

    def heard(self, endpoint_id: str, heartbeat_s: float) -> bool:
        """Note a heartbeat; `False` if there is no such endpoint."""
        statement = "UPDATE endpoints SET heartbeat_s = ?, seen_at = ? WHERE id = ?"
        return bool(self._database.run(statement, heartbeat_s, self._clock.now(), endpoint_id))

    def online(self, row: sqlite3.Row) -> bool:
        """Say whether an endpoint, or a user endpoint, was heard of lately."""
        now = self._clock.now() if self._deaf_since is None else self._deaf_since
        silent_s = now - float(row["seen_at"])
        return silent_s < _MISSED_HEARTBEATS * float(row["heartbeat_s"])

    def stop_listening(self) -> None:
        """Count no silence from now on: without its broker the service hears nobody."""
        if self._deaf_since is None:
            self._deaf_since = self._clock.now()

    def listen_again(self) -> None:
        """Go on counting the silence of each endpoint where it was interrupted."""
        if self._deaf_since is None:
            return
        since, self._deaf_since = self._deaf_since, None
        lost_s = self._clock.now() - since
        for table in ("endpoints", "user_endpoints"):
            statement = f"UPDATE {table} SET seen_at = seen_at + ? WHERE seen_at <= ?"  # noqa: S608 # one of two constants
            self._database.run(statement, lost_s, since)

    def report(self, endpoint_id: str) -> dict[str, Any]:
        """Return what the user endpoint that was heard of last says about itself."""
        row = self._database.one(
            "SELECT * FROM user_endpoints WHERE endpoint_id = ? ORDER BY seen_at DESC", endpoint_id
        )
        if row is None or not self.online(row):
            return {}
        report: dict[str, Any] = json.loads(row["report"])
        return report


class Endpoints:
    """The routes that register, read and delete endpoints."""

    def __init__(
        self, store: EndpointStore, callers: Callers, *, topology: Topology, limits: Limits
    ) -> None:
        self._store = store
        self._callers = callers
        self._topology = topology
        self._limits = limits

    def usable(self, endpoint_id: str, caller: Caller) -> sqlite3.Row:
        """Return an endpoint that the caller may send tasks to, or refuse."""
        row = self._store.get(endpoint_id)
        registration = json.loads(row["registration"])
        if row["owner"] not in caller.ids and not registration.get("multi_user"):
            raise errors.endpoint_forbidden(endpoint_id)
        policy = registration.get("authentication_policy")
        if policy and not self._callers.meets(caller, policy):
            raise errors.endpoint_forbidden(endpoint_id)
        return row

    async def register(self, request: Request) -> JSONResponse:
        """Keep an endpoint and tell it which queues are its own."""
        caller = self._callers.of(request)
        body = await json_body(request, self._limits)
        if not isinstance(body.get("endpoint_name"), str):
            raise errors.malformed("endpoint_name")
        if not (body.get("metadata") or {}).get("user_config_template"):
            raise errors.endpoint_outdated()
        wanted = request.path_params.get("endpoint_id")
        endpoint_id = errors.checked_uuid(wanted or str(uuid.uuid4()))
        self._store.register(endpoint_id, caller, body)
        await self._topology.add_endpoint(endpoint_id)
        users = self._topology.users
        reply: dict[str, Any] = {
            "endpoint_id": endpoint_id,
            "command_queue_info": users.command_queue(endpoint_id),
            "heartbeat_queue_info": users.endpoint_heartbeats(endpoint_id),
            "warnings": [],
        }
        return JSONResponse(reply)

    async def listed(self, request: Request) -> JSONResponse:
        """List the caller's endpoints, or with `role=any` also those that all may see."""
        caller = self._callers.of(request)
        everybody = request.query_params.get("role") == "any"
        listed = []
        for row in self._store.all():
            view = _view(row)
            if row["owner"] in caller.ids or (everybody and view["public"]):
                listed.append({key: view[key] for key in ("uuid", "name", "display_name", "owner")})
        return JSONResponse(listed)

    async def read(self, request: Request) -> JSONResponse:
        """Describe an endpoint."""
        return JSONResponse(_view(self._asked_for(request)))

    async def status(self, request: Request) -> JSONResponse:
        """Say whether an endpoint is alive, and what its user endpoint reports."""
        row = self._asked_for(request)
        online = self._store.online(row)
        details = self._store.report(row["id"]) if online else {}
        return JSONResponse({"status": "online" if online else "offline", "details": details})

    async def allowed_functions(self, request: Request) -> JSONResponse:
        """List the functions that an endpoint is restricted to."""
        row = self._asked_for(request)
        allowed = json.loads(row["registration"]).get("allowed_functions")
        reply = {
            "endpoint_id": row["id"],
            "restricted": allowed is not None,
            "functions": allowed or [],
        }
        return JSONResponse(reply)

    async def lock(self, request: Request) -> JSONResponse:
        """Promise not to start the endpoint for a moment; it is about to be stopped."""
        row = self._owned(request)
        until = datetime.fromtimestamp(time.time() + _LOCK_S, UTC).replace(tzinfo=None)
        reply = {"endpoint_id": row["id"], "lock_expiration_timestamp": until.isoformat()}
        return JSONResponse(reply)

    async def delete(self, request: Request) -> JSONResponse:
        """Forget an endpoint of the caller and delete its queues."""
        row = self._owned(request)
        workers = self._store.workers(row["id"])
        self._store.delete(row["id"])
        await self._topology.remove_endpoint(row["id"], workers)
        return JSONResponse({"result": 302})

    def _asked_for(self, request: Request) -> sqlite3.Row:
        return self.usable(request.path_params["endpoint_id"], self._callers.of(request))

    def _owned(self, request: Request) -> sqlite3.Row:
        caller = self._callers.of(request)
        row = self._store.get(request.path_params["endpoint_id"])
        if row["owner"] not in caller.ids:
            raise errors.endpoint_forbidden(row["id"])
        return row


def _view(row: sqlite3.Row) -> dict[str, Any]:
    body = json.loads(row["registration"])
    metadata = body.get("metadata") or {}
    return {
        "uuid": row["id"],
        "owner": row["owner"],
        "name": body["endpoint_name"],
        "display_name": body.get("display_name"),
        "description": metadata.get("description"),
        "multi_user": bool(body.get("multi_user")),
        "public": bool(body.get("public")),
        "subscription_uuid": body.get("subscription_uuid"),
        "endpoint_config": metadata.get("endpoint_config"),
        "user_config_template": metadata.get("user_config_template"),
        "user_config_schema": metadata.get("user_config_schema"),
        "hostname": metadata.get("hostname"),
        "local_user": metadata.get("local_user"),
        "ip_address": metadata.get("ip_address"),
        "endpoint_version": metadata.get("endpoint_version"),
        "sdk_version": metadata.get("sdk_version"),
    }
