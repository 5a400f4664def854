"""Every route asks for a bearer token, except those that say otherwise."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import HttpBearer
from typing_extensions import override

from resource_server.api.context import gateway_of
from resource_server.domain import errors
from resource_server.domain.identity import Person

MISSING = (
    "No access token was sent. Send the header 'Authorization: Bearer <token>'; "
    "python inference_auth_token.py get_access_token prints one."
)


class BearerToken(HttpBearer):
    """Turns the `Authorization` header into a `Person`."""

    @override
    async def __call__(self, request: HttpRequest) -> Person:
        """Return the token's holder, or raise `Unauthenticated` or `Forbidden`."""
        # Not request.headers: that would parse every header of every request.
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.Unauthenticated(MISSING)
        return await self.authenticate(request, token.strip())

    @override
    async def authenticate(self, request: HttpRequest, token: str) -> Person:
        """Return the token's holder and note it for the log."""
        person = await gateway_of(request).tokens.authenticate(token)
        if isinstance(fields := getattr(request, "log_fields", None), dict):
            fields |= {"user_id": person.primary.id, "username": person.primary.username}
        return person
