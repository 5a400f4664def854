"""Who asks: a person or a service account, as Globus Auth knows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

#: The domain of the identities that Globus Auth gives to confidential clients, and to nobody else.
CLIENTS_DOMAIN = "clients.auth.globus.org"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How an identity was used to log in: when (seconds since the epoch), and by what means.

    `acr` and `amr` are what the identity provider said of the means, in OpenID's terms; most say
    nothing. No rule of ours reads them: which means are good enough, Globus' policies judge.
    """

    at: float
    idp_id: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity of a person at one identity provider.

    `authentication` is there if the person used it to log in for the session that the token comes
    from. `groups` are those in which this very identity has an active membership.
    """

    id: str
    username: str
    idp_id: str
    idp_name: str
    authentication: Authentication | None = None
    groups: frozenset[str] = frozenset()

    @property
    def domain(self) -> str:
        """The part of the username that names the identity provider's domain."""
        return self.username.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """Against which Globus policies a login was held, and which of them it met."""

    asked: frozenset[str] = frozenset()
    met: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The holder of a valid token.

    `primary` is the identity the token was issued to; `linked` are the others of the same
    account. `groups` are ids of Globus groups in which one of them has an active membership.
    `as_of` is the moment for which all this is said, in seconds since the epoch; without it every
    deadline of a login counts as missed. `credential` tells the person's tokens apart and gives
    none away.
    """

    primary: Identity
    name: str
    email: str
    linked: tuple[Identity, ...] = ()
    groups: frozenset[str] = frozenset()
    policies: Evaluations = Evaluations()
    as_of: float = field(default=math.inf, compare=False)
    credential: str = field(default="", compare=False, repr=False)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """All identities of the account."""
        return (self.primary, *self.linked)

    @property
    def account_id(self) -> str:
        """An id of the account, the same whichever of its identities a token was issued to."""
        if not self.linked:
            return self.primary.id  # of most people, and asked several times for each request
        return min(identity.id for identity in self.identities)

    @property
    def is_service_account(self) -> bool:
        """Whether this is a program with credentials of its own, and nobody who logs in."""
        return self.primary.domain == CLIENTS_DOMAIN

    def logged_in(self) -> Iterator[Identity]:
        """Return the identities that were used to log in for this session."""
        return (identity for identity in self.identities if identity.authentication is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A verified token: its holder, and until when it is good (seconds since the epoch)."""

    person: Person
    expires_at: float
