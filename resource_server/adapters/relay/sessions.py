"""Sessions: what a hub gives an instance to dial again with, to any hub of the same gateway."""

from __future__ import annotations

import hmac
import time
from typing import Any

import jwt

from resource_server.adapters.relay.instance import NotGood, RelayInstance, claim

ALGORITHM = "HS256"
ISSUER = "hotnode-hub"
AUDIENCE = "hotnode-relay"
#: Sessions of sites' agents, which relays must not have, nor agents those of relays.
SITE_AUDIENCE = "hotnode-site"
#: How long a session is good (seconds).
LIFE_S = 3600.0


class Sessions:
    """Issues and verifies sessions; nothing is kept about them.

    They are signed with a key that is made of the gateway's secret and of the site's public key: a
    site that enrols with a new key loses the sessions of the old one.
    """

    def __init__(self, secret: bytes, *, life_s: float = LIFE_S) -> None:
        self._secret = secret
        self.life_s = life_s

    def issue(self, instance: RelayInstance, key: str) -> str:
        """Return a session for an instance of the site whose public key is `key`."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": time.time() + self.life_s,
            "cluster": instance.cluster,
            "instance": instance.instance,
            "job": instance.job,
            "framework": instance.framework,
            "model": instance.model,
        }
        return jwt.encode(claims, self._key(key), algorithm=ALGORITHM)

    def issue_to_site(self, cluster: str, key: str) -> str:
        """Return a session for the agent of the site whose public key is `key`."""
        claims = {
            "iss": ISSUER,
            "aud": SITE_AUDIENCE,
            "exp": time.time() + self.life_s,
            "cluster": cluster,
        }
        return jwt.encode(claims, self._key(key), algorithm=ALGORITHM)

    def read_of_site(self, token: str, *, key: str) -> str:
        """Return the cluster whose agent's session it is, or raise `NotGood`."""
        return claim(self._claims(token, key=key, audience=SITE_AUDIENCE), "cluster")

    def read(self, token: str, *, key: str) -> RelayInstance:
        """Return whose session it is, or raise `NotGood`."""
        claims = self._claims(token, key=key, audience=AUDIENCE)
        return RelayInstance(
            cluster=claim(claims, "cluster"),
            instance=claim(claims, "instance"),
            job=claim(claims, "job"),
            framework=claim(claims, "framework"),
            model=claim(claims, "model"),
        )

    def _claims(self, token: str, *, key: str, audience: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(key),
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                options={"require": ["aud", "exp", "iss"]},
            )
        except jwt.InvalidTokenError as error:
            raise NotGood(f"session: {error}") from error
        return claims

    def _key(self, site_key: str) -> bytes:
        return hmac.digest(self._secret, f"relay sessions {site_key}".encode(), "sha256")
