"""The RSA key that signs id tokens, and the two documents that tell clients about it."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local_globus.database import Database

ALGORITHM = "RS512"
_KEY_ID = "local"


class SigningKey:
    """A key made when it is first needed and remembered from then on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: rsa.RSAPrivateKey | None = None

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a signed JSON Web Token."""
        return jwt.encode(claims, self._private(), ALGORITHM, headers={"kid": _KEY_ID})

    def published(self) -> dict[str, Any]:
        """Return the JSON Web Key Set with the public key."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._private().public_key()))
        return {"keys": [key | {"alg": ALGORITHM, "kid": _KEY_ID, "use": "sig"}]}

    def _private(self) -> rsa.RSAPrivateKey:
        if self._key is None:
            pem = self._database.remembered("signing key", _new_key)
            key = serialization.load_pem_private_key(pem, password=None)
            if not isinstance(key, rsa.RSAPrivateKey):
                message = "The remembered signing key is not an RSA key"
                raise TypeError(message)
            self._key = key
        return self._key


def _new_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def discovery(issuer: str) -> dict[str, Any]:
    """Return the OpenID Connect configuration."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/v2/oauth2/authorize",
        "token_endpoint": f"{issuer}/v2/oauth2/token",
        "introspection_endpoint": f"{issuer}/v2/oauth2/token/introspect",
        "revocation_endpoint": f"{issuer}/v2/oauth2/token/revoke",
        "userinfo_endpoint": f"{issuer}/v2/oauth2/userinfo",
        "jwks_uri": f"{issuer}/jwk.json",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "scopes_supported": ["openid", "email", "profile"],
        "claims_supported": ["sub", "name", "preferred_username", "email"],
    }
