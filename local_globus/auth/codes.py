"""Authorization codes: what a person agreed to, until a client exchanges it once."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass

from local_globus.auth.errors import InvalidCode
from local_globus.auth.scopes import Scope
from local_globus.clock import Clock

_LIFETIME_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's answer to an authorization request."""

    client_id: str
    redirect_uri: str
    scopes: tuple[Scope, ...]
    subject: str
    session_id: str
    offline: bool
    challenge: str | None
    nonce: str | None


class CodeBook:
    """Codes that wait for their exchange; they do not survive a restart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._approvals: dict[str, tuple[float, Approval]] = {}

    def write(self, approval: Approval) -> str:
        """Return a new code for an approval."""
        now = self._clock.now()
        self._approvals = {c: a for c, a in self._approvals.items() if a[0] > now}
        code = secrets.token_urlsafe(24)
        self._approvals[code] = (now + _LIFETIME_S, approval)
        return code

    def redeem(self, code: str, verifier: str) -> Approval:
        """Return what a code stands for, once, to whoever knows its PKCE verifier."""
        expires_at, approval = self._approvals.pop(code, (0.0, None))
        if approval is None or expires_at <= self._clock.now():
            raise InvalidCode
        if approval.challenge is not None and _challenge(verifier) != approval.challenge:
            raise InvalidCode("The code verifier does not fit the challenge")
        return approval


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
