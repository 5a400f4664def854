"""Issued access and refresh tokens, of which only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from local_globus.clock import Clock
from local_globus.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token stands for; `parent` is the hash of the token it was obtained with."""

    kind: Literal["access", "refresh"]
    client_id: str
    subject: str
    resource_server: str
    scopes: tuple[str, ...]
    session_id: str | None = None
    parent: str | None = None
    issued_at: float = 0.0
    expires_at: float | None = None


def fingerprint(token: str) -> str:
    """Return the hash under which a token is kept; tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenStore:
    """Issue, find and revoke tokens."""

    def __init__(self, database: Database, clock: Clock, *, lifetime_s: int) -> None:
        self._database = database
        self._clock = clock
        self.lifetime_s = lifetime_s

    def issue(self, token: Token) -> str:
        """Remember a token and return the secret text that stands for it."""
        text = "Ag" + secrets.token_urlsafe(36)
        now = self._clock.now()
        self._database.run(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            fingerprint(text),
            token.kind,
            token.parent,
            token.client_id,
            token.subject,
            token.resource_server,
            " ".join(token.scopes),
            token.session_id,
            now,
            now + self.lifetime_s if token.kind == "access" else None,
        )
        return text

    def find(self, text: str, kind: Literal["access", "refresh"] = "access") -> Token | None:
        """Return what a token stands for, unless it is unknown, revoked or expired."""
        row = self._database.one(
            "SELECT * FROM tokens WHERE hash = ? AND kind = ?", fingerprint(text), kind
        )
        if row is None or (row["expires_at"] or float("inf")) <= self._clock.now():
            return None
        return Token(
            kind=kind,
            client_id=row["client_id"],
            subject=row["subject"],
            resource_server=row["resource_server"],
            scopes=tuple(row["scope"].split()),
            session_id=row["session_id"],
            parent=row["parent"],
            issued_at=row["issued_at"],
            expires_at=row["expires_at"],
        )

    def revoke(self, text: str, client_id: str) -> None:
        """Forget a client's token, and every token that was obtained with it."""
        self._database.run(
            """WITH RECURSIVE family (hash) AS (
                 SELECT hash FROM tokens WHERE hash = ? AND client_id = ?
                 UNION SELECT t.hash FROM tokens t JOIN family f ON t.parent = f.hash)
               DELETE FROM tokens WHERE hash IN family""",
            fingerprint(text),
            client_id,
        )

    def revoke_subject(self, subject: str) -> int:
        """Forget every token that names an identity, and return how many there were."""
        return self._database.run("DELETE FROM tokens WHERE subject = ?", subject)

    def forget_expired(self) -> None:
        """Delete the tokens that nobody can use any more."""
        self._database.run("DELETE FROM tokens WHERE expires_at <= ?", self._clock.now())
