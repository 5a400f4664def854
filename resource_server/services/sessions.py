"""What tells an engine, and the choice among several, that requests belong together.

A session is a conversation, or a series of questions with one beginning: whoever has its prefix in
the cache answers sooner. Neither value tells who the person is or what was said.
"""

from __future__ import annotations

import hashlib
import hmac

from resource_server.domain.identity import Person
from resource_server.ports import RequestBody

#: Where each route has what was said first, the beginning of which the session's requests share.
_BEGINNINGS = ("messages", "prompt", "input")
#: So much of a beginning is looked at: it tells sessions apart, and reading all of it would cost.
_LOOKED_AT_BYTES = 1024
#: Where the second message of a list begins, as clients write it.
_ROLE = b'"user"'
_SALT_PURPOSE = b"hotnode cache_salt"


class CacheSalts:
    """Gives each person a salt, under a key that is derived from the gateway's secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _SALT_PURPOSE, "sha256")

    def of(self, person: Person) -> str:
        """Return the salt of a person's account: always the same, and nobody else's."""
        return hmac.digest(self._key, person.account_id.encode(), "sha256").hex()[:32]


def affinity_of(person: Person, body: RequestBody) -> str:
    """Return what the requests of one session have in common, and most others have not."""
    digest = hashlib.blake2b(digest_size=12, key=person.account_id.encode()[:64])
    digest.update(body.model.encode())
    for field in ("system", *_BEGINNINGS):
        if raw := body.raw(field):
            digest.update(_beginning(raw))
    return digest.hexdigest()


def _beginning(raw: bytes) -> bytes:
    """Return what stays the same while a conversation grows: all up to its first question.

    A conversation is a list of objects; what was said first by the person ends with that object, or
    where we stop looking.
    """
    looked_at = raw[:_LOOKED_AT_BYTES]
    if not looked_at.startswith(b"["):
        return looked_at
    asked = looked_at.find(_ROLE)
    end = looked_at.find(b"}", asked + 1) if asked >= 0 else -1
    return looked_at if end < 0 else looked_at[:end]
