"""Every route asks for a bearer token, except those that say otherwise."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from ninja.security import HttpBearer
from typing_extensions import override

from resource_server.api.context import gateway_of
from resource_server.api.request import LeanRequest
from resource_server.domain import errors
from resource_server.domain.identity import Person
from resource_server.domain.limits import BodySizes

MISSING = (
    "No access token was sent. Send the header 'Authorization: Bearer <token>'; "
    "python inference_auth_token.py get_access_token prints one."
)


def bearer_token(request: HttpRequest) -> str:
    """Return the token that a request shows; empty if it shows none."""
    # Not request.headers: that would parse every header of every request.
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def admit(request: LeanRequest) -> BodySizes:
    """Return how much the sender of a body may send, or raise an error about the token.

    No route without a token takes a body; reading those of strangers would let them fill the
    room that there is for bodies.
    """
    person = request.person = await _holder(request)
    return gateway_of(request).limits.body_sizes(person)


class BearerToken(HttpBearer):
    """Turns the header `Authorization`, or `x-api-key`, into a `Person`."""

    @override
    async def __call__(self, request: HttpRequest) -> Person:
        """Return the token's holder, or raise `Unauthenticated` or `Forbidden`."""
        if (person := getattr(request, "person", None)) is not None:
            return cast("Person", person)
        return await _holder(request)

    @override
    async def authenticate(self, request: HttpRequest, token: str) -> Person:
        """Return the token's holder."""
        return await _authenticated(request, token)


async def _holder(request: HttpRequest) -> Person:
    """Return the holder of the request's token, or raise `Unauthenticated` or `Forbidden`."""
    # Clients of Anthropic's API send the token in a header of its own.
    token = bearer_token(request) or request.META.get("HTTP_X_API_KEY", "").strip()
    if not token:
        raise errors.Unauthenticated(MISSING)
    return await _authenticated(request, token)


async def _authenticated(request: HttpRequest, token: str) -> Person:
    """Return a token's holder; note who it is for the log, also of who is refused."""
    try:
        person = await gateway_of(request).tokens.authenticate(token)
    except errors.HotnodeError as refusal:
        if refusal.person is not None:
            _note(request, refusal.person)
        raise
    _note(request, person)
    return person


def _note(request: HttpRequest, person: Person) -> None:
    """Put who asks, and with which login, into the request's line in the log."""
    if not isinstance(fields := getattr(request, "log_fields", None), dict):
        return
    fields |= {"user_id": person.primary.id, "username": person.primary.username}
    if person.is_service_account:
        fields["service_account"] = True
        return
    fields["logins"] = [
        {"username": identity.username, "idp": identity.idp_name} for identity in person.logged_in()
    ]
