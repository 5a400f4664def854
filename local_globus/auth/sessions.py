"""Login sessions: with which identity somebody authenticated, and when."""

from __future__ import annotations

import uuid

from local_globus.clock import Clock
from local_globus.database import Database


class SessionStore:
    """The authentications behind each issued token."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, identity_id: str) -> str:
        """Record an authentication that happens now and return the id of its new session."""
        session_id = str(uuid.uuid4())
        self._database.run(
            "INSERT INTO authentications VALUES (?, ?, ?)",
            session_id,
            identity_id,
            self._clock.now(),
        )
        return session_id

    def authentications(self, session_id: str | None) -> dict[str, float]:
        """Return when each identity authenticated in a session; a client has no session."""
        rows = self._database.all("SELECT * FROM authentications WHERE session_id = ?", session_id)
        return {row["identity_id"]: row["authenticated_at"] for row in rows}

    def age(self, identity_id: str, seconds: float) -> int:
        """Make every login of an identity older, and return how many there were."""
        return self._database.run(
            "UPDATE authentications SET authenticated_at = authenticated_at - ?"
            " WHERE identity_id = ?",
            seconds,
            identity_id,
        )
