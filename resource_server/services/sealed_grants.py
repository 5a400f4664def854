"""How a grant is written for other processes to read: as JSON, versioned, and encrypted.

Whoever can write to the shared cache must not be able to invent a grant, nor to give one token's
grant to another; whoever can read it must not learn who uses the service. The encryption is
authenticated, and covers the token's digest too. What does not open reads as nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from resource_server.domain.identity import (
    Authentication,
    Evaluations,
    Grant,
    Identity,
    Person,
)

#: Of the form below; a process that writes another form reads nothing of this one.
VERSION = 1
_KEY_BYTES = 32
#: Chosen at random for each grant. One key is good for 2**32 of them: a hundred a second for more
#: than a year, until the gateway has a new secret key.
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedGrant:
    """A grant, when Globus confirmed it (seconds since the epoch), and against which policies."""

    grant: Grant
    verified_at: float
    policies: frozenset[str]


class Seal:
    """Seals and opens grants (AES-256-GCM) with a key of its own, made from the gateway's."""

    def __init__(self, key: bytes) -> None:
        derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=b"seal of grants")
        self._cipher = AESGCM(derivation.derive(key))

    def close(self, digest: bytes, verified: VerifiedGrant) -> bytes:
        """Return what stands for a grant in the cache, under a token's digest."""
        content = json.dumps(_written(verified), separators=(",", ":")).encode()
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, digest)

    def open(self, digest: bytes, sealed: bytes | None) -> VerifiedGrant | None:
        """Return the grant, or None if there is none or it is not ours."""
        if sealed is None:
            return None
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            written = json.loads(self._cipher.decrypt(nonce, content, digest))
            return _read(written) if written["version"] == VERSION else None
        except InvalidTag:
            return None  # not ours, or not this token's
        except (KeyError, TypeError, ValueError):
            return None  # ours, but of a release that wrote other fields; or too short


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
