"""Who an account is: userinfo, identities, identity providers and consents."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.auth import scopes
from local_globus.auth.authority import Authority
from local_globus.auth.clients import basic_credentials
from local_globus.auth.errors import Forbidden, InvalidRequest
from local_globus.seed import Account, Identity, IdentityProvider

_MOST_IDENTITIES = 100


class IdentityEndpoints:
    """The reads of Globus Auth that name people."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def userinfo(self, request: Request) -> JSONResponse:
        """Describe the holder of a token, as far as its scopes allow."""
        token = self._authority.bearer(request, scopes.AUTH)
        if "openid" not in token.scopes:
            raise Forbidden
        account = self._authority.directory.account(token.subject)
        identities = described(self._authority, account, token.session_id)
        primary = identities[0]
        reply = {"sub": primary["sub"], "identity_set": identities}
        if "profile" in token.scopes:
            reply |= primary | {"preferred_username": primary["username"]}
        if "email" in token.scopes:
            reply |= {"email": primary["email"]}
        return JSONResponse(reply)

    async def identities(self, request: Request) -> JSONResponse:
        """Look identities up by id or by username; unknown ones are left out."""
        self._authenticate(request)
        found = self._named(request)
        reply: dict[str, Any] = {"identities": [_public(identity) for identity in found]}
        if request.query_params.get("include") == "identity_provider":
            providers = {identity.provider.id: identity.provider for identity in found}
            listed = [_provider(provider) for provider in providers.values()]
            reply["included"] = {"identity_providers": listed}
        return JSONResponse(reply)

    async def identity_providers(self, request: Request) -> JSONResponse:
        """Look identity providers up by id or by domain."""
        self._authenticate(request)
        ids = request.query_params.get("ids", "").split(",")
        domains = set(request.query_params.get("domains", "").split(","))
        found = [
            provider
            for provider in self._authority.directory.providers
            if provider.id in ids or domains & set(provider.domains)
        ]
        return JSONResponse({"identity_providers": [_provider(provider) for provider in found]})

    async def consents(self, request: Request) -> JSONResponse:
        """List what the holder of a token agreed to."""
        token = self._authority.bearer(request, scopes.AUTH)
        account = self._authority.directory.account(token.subject)
        if request.path_params["identity_id"] not in {i.id for i in account.identities}:
            raise Forbidden
        return JSONResponse({"consents": self._authority.consents.listed(token.subject)})

    def _authenticate(self, request: Request) -> None:
        if basic_credentials(request) is not None:
            self._authority.clients.authenticate(request, {})
        else:
            self._authority.bearer(request, scopes.AUTH)

    def _named(self, request: Request) -> list[Identity]:
        query, directory = request.query_params, self._authority.directory
        ids = [id_ for id_ in query.get("ids", "").split(",") if id_]
        usernames = [name for name in query.get("usernames", "").split(",") if name]
        if bool(ids) == bool(usernames) or len(ids) + len(usernames) > _MOST_IDENTITIES:
            raise InvalidRequest("Pass either ids or usernames, at most 100")
        found = [directory.identity(id_) for id_ in ids]
        found += [directory.identity_by_username(username) for username in usernames]
        return [identity for identity in found if identity is not None]


def described(
    authority: Authority, account: Account, session_id: str | None
) -> list[dict[str, Any]]:
    """Return each identity of an account as userinfo and introspection show it."""
    seen = authority.sessions.authentications(session_id)
    return [
        {
            "sub": identity.id,
            "username": identity.username,
            "name": identity.name,
            "email": identity.username,
            "organization": identity.organization,
            "identity_provider": identity.provider.id,
            "identity_provider_display_name": identity.provider.name,
            "last_authentication": int(seen[identity.id]) if identity.id in seen else None,
        }
        for identity in account.identities
    ]


def _public(identity: Identity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "username": identity.username,
        "name": identity.name,
        "email": identity.username,
        "organization": identity.organization,
        "identity_provider": identity.provider.id,
        "identity_type": "login",
        "status": "used",
    }


def _provider(provider: IdentityProvider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "name": provider.name,
        "short_name": provider.domains[0],
        "alternative_names": [],
        "domains": list(provider.domains),
    }
