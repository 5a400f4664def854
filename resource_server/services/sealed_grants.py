"""How a grant is written for other processes to read: as JSON, versioned, and sealed.

Whoever can write to the shared cache must not be able to invent a grant, nor to give one token's
grant to another: the seal covers both. What does not open reads as nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any

from resource_server.domain.identity import (
    Authentication,
    Evaluations,
    Grant,
    Identity,
    Person,
)

#: Of the form below; a process that writes another form reads nothing of this one.
VERSION = 1
_SEAL_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedGrant:
    """A grant, when Globus confirmed it (seconds since the epoch), and against which policies."""

    grant: Grant
    verified_at: float
    policies: frozenset[str]


class Seal:
    """Seals and opens grants with a key of its own, made from the gateway's."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"seal of grants", hashlib.sha256)

    def close(self, digest: bytes, verified: VerifiedGrant) -> bytes:
        """Return what stands for a grant in the cache, under a token's digest."""
        content = json.dumps(_written(verified), separators=(",", ":")).encode()
        return self._of(digest, content) + content

    def open(self, digest: bytes, sealed: bytes | None) -> VerifiedGrant | None:
        """Return the grant, or None if there is none or it is not ours."""
        if sealed is None:
            return None
        seal, content = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._of(digest, content)):
            return None
        try:
            written = json.loads(content)
            return _read(written) if written["version"] == VERSION else None
        except (KeyError, TypeError, ValueError):
            return None  # ours, but of a release that wrote other fields

    def _of(self, digest: bytes, content: bytes) -> bytes:
        return hmac.digest(self._key, digest + content, hashlib.sha256)


def _written(verified: VerifiedGrant) -> dict[str, Any]:
    person = verified.grant.person
    return {
        "version": VERSION,
        "verified_at": verified.verified_at,
        "policies": sorted(verified.policies),
        "expires_at": verified.grant.expires_at,
        "name": person.name,
        "email": person.email,
        "identities": [_identity_written(identity) for identity in person.identities],
        "groups": sorted(person.groups),
        "asked": sorted(person.policies.asked),
        "met": sorted(person.policies.met),
    }


def _identity_written(identity: Identity) -> dict[str, Any]:
    return asdict(identity) | {"groups": sorted(identity.groups)}


def _read(written: dict[str, Any]) -> VerifiedGrant:
    primary, *linked = map(_identity_read, written["identities"])
    person = Person(
        primary=primary,
        name=written["name"],
        email=written["email"],
        linked=tuple(linked),
        groups=frozenset(written["groups"]),
        policies=Evaluations(asked=frozenset(written["asked"]), met=frozenset(written["met"])),
    )
    return VerifiedGrant(
        grant=Grant(person=person, expires_at=written["expires_at"]),
        verified_at=written["verified_at"],
        policies=frozenset(written["policies"]),
    )


def _identity_read(written: dict[str, Any]) -> Identity:
    login = written["authentication"]
    return Identity(
        **written
        | {
            "groups": frozenset(written["groups"]),
            "authentication": login and Authentication(**login | {"amr": tuple(login["amr"])}),
        }
    )
