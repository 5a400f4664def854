"""The agent's own credentials: with these it proves to hubs that it speaks for its site."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import jwt

from compute_functions.contract.site_link import ROLE
from compute_functions.errors import ConfigurationError
from compute_functions.relay.credentials import ALGORITHM, AUDIENCE, CREDENTIAL_S


class AgentCredentials:
    """Signs with the site's key, which is read each time: it may have been replaced."""

    def __init__(self, key_file: Path, cluster: str) -> None:
        self._key_file = key_file
        self._cluster = cluster

    async def new(self) -> str:
        """Return a credential for one use."""
        return await asyncio.to_thread(self._signed)

    def _signed(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self._cluster,
            "sub": ROLE,
            "aud": AUDIENCE,
            "role": ROLE,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + int(CREDENTIAL_S),
        }
        try:
            return jwt.encode(claims, self._key_file.read_bytes(), algorithm=ALGORITHM)
        except OSError as error:
            raise ConfigurationError(
                f"{self._key_file} cannot be read: {error.strerror}; enrol the site again"
            ) from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{self._key_file} is not an Ed25519 key in PEM") from error
