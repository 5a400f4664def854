"""Who asks: a person or a service account, as Globus Auth knows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity of a person at one identity provider."""

    id: str
    username: str
    idp_id: str
    idp_name: str

    @property
    def domain(self) -> str:
        """The part of the username that names the identity provider's domain."""
        return self.username.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The holder of a valid token.

    `primary` is the identity the token was issued to; `linked` are the others of the same
    account. `groups` are ids of Globus groups with an active membership.
    """

    primary: Identity
    name: str
    email: str
    linked: tuple[Identity, ...] = ()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A verified token: its holder, and until when it is good (seconds since the epoch)."""

    person: Person
    expires_at: float
