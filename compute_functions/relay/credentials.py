"""What a relay shows to a hub: a credential that its site signed, then the hub's sessions."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jwt

from compute_functions.errors import ConfigurationError

AUDIENCE = "hotnode-hub"
ALGORITHM = "EdDSA"
#: A credential is made when it is needed, and used once: this is for slow ways and clocks (s).
CREDENTIAL_S = 300.0
#: A session is not shown in its last part: it could end on its way (seconds).
SESSION_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a credential says of an instance."""

    cluster: str
    instance: str
    job: str
    framework: str
    model: str


class CredentialSource(Protocol):
    """Where a relay gets credentials from."""

    async def new(self) -> str:
        """Return one that was never used, or raise `ConfigurationError`."""
        ...


class SiteCredentials:
    """Signs credentials with the site's key, which is read each time: it may have been replaced."""

    def __init__(self, key_file: Path, claims: Claims) -> None:
        self._key_file = key_file
        self._claims = claims

    async def new(self) -> str:
        """Return a credential for one use."""
        return await asyncio.to_thread(self._signed)

    def _signed(self) -> str:
        (credential,) = signed(self._key_file, self._claims, valid_s=CREDENTIAL_S)
        return credential


def signed(key_file: Path, claims: Claims, *, valid_s: float, count: int = 1) -> tuple[str, ...]:
    """Return so many credentials, each for one use within `valid_s` seconds.

    Raises `ConfigurationError` if the site's key cannot sign.
    """
    now = int(time.time())
    said = {
        "iss": claims.cluster,
        "sub": claims.instance,
        "aud": AUDIENCE,
        "job": claims.job,
        "framework": claims.framework,
        "model": claims.model,
        "iat": now,
        "exp": now + int(valid_s),
    }
    try:
        key = key_file.read_bytes()
        named = ({**said, "jti": secrets.token_urlsafe(16)} for _ in range(count))
        return tuple(jwt.encode(each, key, algorithm=ALGORITHM) for each in named)
    except OSError as error:
        raise ConfigurationError(
            f"{key_file} cannot be read: {error.strerror}; enrol the site again"
        ) from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{key_file} is not an Ed25519 key in PEM") from error


class Bearer:
    """The token for the next opening of a link: the hub's session while it is good."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self._session = ""
        self._good_until = 0.0

    async def token(self) -> str:
        """Return the session, or a new credential."""
        if self._session and time.monotonic() < self._good_until:
            return self._session
        self._session = ""
        return await self._source.new()

    def renewed(self, session: str, session_s: float) -> None:
        """Take a session that a hub gave."""
        self._session = session
        self._good_until = time.monotonic() + session_s - SESSION_MARGIN_S

    def refused(self) -> bool:
        """Drop the session that a hub refused; False if it was a credential."""
        was_session = bool(self._session)
        self._session = ""
        return was_session
