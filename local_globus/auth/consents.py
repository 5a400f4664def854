"""What people agreed to: which client may use which scope in their name."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from local_globus.auth.scopes import Scope
from local_globus.clock import Clock
from local_globus.database import Database


class ConsentStore:
    """Record consents at login and list them as Globus Auth does."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def grant(
        self, subject: str, client_id: str, scopes: Iterable[Scope], parent: int | None = None
    ) -> None:
        """Record that an identity lets a client use scopes, and what these depend on."""
        for scope in scopes:
            consent = self._record(subject, client_id, scope.name, parent)
            self.grant(subject, client_id, scope.dependencies, consent)

    def _record(self, *key: str | int | None) -> int:
        now = self._clock.now()
        known = self._database.one(
            "UPDATE consents SET used_at = ? WHERE subject = ? AND client_id = ? AND scope = ?"
            " AND parent IS ? RETURNING id",
            now,
            *key,
        )
        row = known or self._database.one(
            "INSERT INTO consents (subject, client_id, scope, parent, created_at, used_at)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            *key,
            now,
            now,
        )
        if row is None:
            message = "SQLite returned no id for a consent"
            raise RuntimeError(message)
        return int(row["id"])

    def listed(self, subject: str) -> list[dict[str, Any]]:
        """Return the consents of an identity in the form of `GET …/consents`."""
        rows = self._database.all("SELECT * FROM consents WHERE subject = ? ORDER BY id", subject)
        paths: dict[int, list[int]] = {}
        for row in rows:
            paths[row["id"]] = [*paths.get(row["parent"], []), row["id"]]
        return [
            {
                "id": row["id"],
                "client": row["client_id"],
                "scope": str(uuid.uuid5(uuid.NAMESPACE_URL, row["scope"])),
                "scope_name": row["scope"],
                "dependency_path": paths[row["id"]],
                "effective_identity": subject,
                "status": "approved",
                "allows_refresh": True,
                "auto_approved": False,
                "atomically_revocable": row["parent"] is not None,
                "created": _iso(row["created_at"]),
                "updated": _iso(row["created_at"]),
                "last_used": _iso(row["used_at"]),
            }
            for row in rows
        ]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
