"""A site's credential for one of its instances: signed with the key that the site enrolled with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from compute_functions.contract.site_link import ROLE
from resource_server.adapters.relay.instance import NotGood, RelayInstance, claim
from resource_server.adapters.relay_keys import public_key

ALGORITHM = "EdDSA"
AUDIENCE = "hotnode-hub"
#: Clocks of sites and gateway may differ by so much (seconds).
LEEWAY_S = 60.0
#: A credential is good for the wait in a queue and the time of a job; more is a mistake (seconds).
MOST_LIFE_S = 31 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a good credential says. Whoever takes it notes its `name` until `expires_at`."""

    instance: RelayInstance
    name: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCredential:
    """What a good credential of a site's agent says: that it is one, under which name."""

    name: str
    expires_at: float


def read_credential(token: str, *, cluster: str, key: str) -> Credential:
    """Return a credential that `cluster`, whose public key is `key`, has signed; or `NotGood`."""
    claims = _claims(token, cluster=cluster, key=key)
    if "role" in claims:
        raise NotGood("credential: it is for another role than a relay's")
    instance = RelayInstance(
        cluster=cluster,
        instance=claim(claims, "sub"),
        job=claim(claims, "job"),
        framework=claim(claims, "framework"),
        model=claim(claims, "model"),
    )
    return Credential(instance=instance, name=claim(claims, "jti"), expires_at=_end(claims))


def read_site_credential(token: str, *, cluster: str, key: str) -> SiteCredential:
    """Return a credential of a cluster's agent, as `read_credential` does one of an instance."""
    claims = _claims(token, cluster=cluster, key=key)
    if claims.get("role") != ROLE:
        raise NotGood("credential: it is not for a site's agent")
    return SiteCredential(name=claim(claims, "jti"), expires_at=_end(claims))


def _claims(token: str, *, cluster: str, key: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            public_key(key),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=cluster,
            leeway=LEEWAY_S,
            options={"require": ["aud", "exp", "iat", "iss", "jti", "sub"]},
        )
    except (jwt.InvalidTokenError, OverflowError) as error:  # the second for an infinite time
        raise NotGood(f"credential: {error}") from error
    if _end(claims) > time.time() + MOST_LIFE_S + 2 * LEEWAY_S:
        raise NotGood(f"credential: it is good for more than {MOST_LIFE_S / 86_400:.0f} days")
    return claims


def _end(claims: Mapping[str, Any]) -> float:
    return float(claims["exp"]) + LEEWAY_S
