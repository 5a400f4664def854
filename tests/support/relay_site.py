"""A site that has enrolled for relays: its key, and the credentials that it signs."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from resource_server.domain.catalog import Catalog, Cluster
from tests.support import catalogs

MODEL, FRAMEWORK, PATH = "org/model", "vllm", "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySite:
    """One cluster with a key of its own."""

    cluster: str
    key: Ed25519PrivateKey

    @classmethod
    def enrolled(cls, cluster: str = "local") -> RelaySite:
        return cls(cluster=cluster, key=Ed25519PrivateKey.generate())

    @property
    def public_key(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def in_catalog(self) -> Cluster:
        return replace(catalogs.cluster(self.cluster), relay_key=self.public_key)

    def claims(self, instance: str = "instance-1", *, model: str = MODEL) -> dict[str, Any]:
        now = time.time()
        return {
            "iss": self.cluster,
            "sub": instance,
            "job": "4711",
            "framework": FRAMEWORK,
            "model": model,
            "aud": "hotnode-hub",
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + 3600,
        }

    def signed(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self.key, algorithm="EdDSA")

    def credential(self, instance: str = "instance-1", *, model: str = MODEL) -> str:
        return self.signed(self.claims(instance, model=model))

    def agent_credential(self) -> str:
        """Return a credential of the site's agent, as it signs them itself."""
        now = time.time()
        claims = {
            "iss": self.cluster,
            "sub": "site",
            "role": "site",
            "aud": "hotnode-hub",
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + 300,
        }
        return self.signed(claims)


def catalog_of(*sites: RelaySite) -> Catalog:
    """Return a catalog with the clusters of some sites."""
    return Catalog([site.in_catalog() for site in sites])
