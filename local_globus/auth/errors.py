"""Refusals of Globus Auth, in the two forms that its clients read.

AuthError            a refusal with a status, an OAuth error name and an explanation
├── Unauthenticated  no valid token or client credentials came with the call
├── InvalidClient    the client does not exist or its secret is wrong
├── InvalidGrant     a refresh token or caller's token is not (or no longer) good
│   └── InvalidCode  an authorization code is not (or no longer) good
├── InvalidRequest   a parameter is missing or not allowed
├── UnknownScope     no service has this scope
├── Forbidden        the token or the login does not allow the call
└── DependentConsentRequired   the caller has not agreed to what the service asks in their name
"""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse


class AuthError(Exception):
    """Globus Auth refuses the call."""

    status = 400
    error = "invalid_request"

    def __init__(self, detail: str | None = None, **extra: object) -> None:
        self.detail = detail or (self.__doc__ or "")
        self.extra = extra
        super().__init__(self.detail)

    def body(self) -> dict[str, Any]:
        """Return the JSON that Globus Auth would send."""
        title = self.error.replace("_", " ").capitalize()
        described: dict[str, Any] = {
            "status": str(self.status),
            "id": str(uuid.uuid4()),
            "code": self.error.upper(),
            "detail": self.detail,
            "title": title,
        }
        return {
            "errors": [described | self.extra],
            "error_description": title,
            "error": self.error,
        }


class Unauthenticated(AuthError):
    """Call must be authenticated"""  # noqa: D400 - the service's own words, sent as they are

    status = 401
    error = "unauthorized"


class InvalidClient(AuthError):
    """The client does not exist or its secret is wrong."""

    status = 401
    error = "invalid_client"


class InvalidGrant(AuthError):
    """The token is unknown, used, expired, revoked or of another client."""

    error = "invalid_grant"


class InvalidCode(InvalidGrant):
    """The authorization code is not good; Globus answers this with 401, and not with 400."""

    status = 401


class InvalidRequest(AuthError):
    """A parameter is missing or not allowed."""


class UnknownScope(AuthError):
    """No service has this scope."""

    error = "unknown_scope"


class Forbidden(AuthError):
    """The token does not allow this."""

    status = 403
    error = "forbidden"


class DependentConsentRequired(AuthError):
    """Missing required dependent consent"""  # noqa: D400 - the service's own words

    status = 403
    error = "dependent_consent_required"


async def render(request: Request, error: Exception) -> JSONResponse:
    """Answer a request with the refusal that its handler raised."""
    if not isinstance(error, AuthError):
        raise error
    return JSONResponse(error.body(), status_code=error.status)
