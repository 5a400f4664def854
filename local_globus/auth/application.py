"""The routes of Globus Auth."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_globus.auth import errors, signing
from local_globus.auth.authority import Authority
from local_globus.auth.codes import CodeBook
from local_globus.auth.grants import TokenEndpoint
from local_globus.auth.identities import IdentityEndpoints
from local_globus.auth.introspection import IntrospectionEndpoint
from local_globus.auth.login import LoginPages


def application(authority: Authority) -> Starlette:
    """Return Globus Auth as an ASGI application."""
    codes = CodeBook(authority.clock)
    pages, tokens = LoginPages(authority, codes), TokenEndpoint(authority, codes)
    introspection, identities = IntrospectionEndpoint(authority), IdentityEndpoints(authority)

    async def discovery(_: Request) -> JSONResponse:
        return JSONResponse(signing.discovery(f"{authority.base_url}/auth"))

    async def keys(_: Request) -> JSONResponse:
        return JSONResponse(authority.signing.published())

    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", discovery),
            Route("/jwk.json", keys),
            Route("/v2/oauth2/authorize", pages.choose),
            Route("/v2/oauth2/authorize", pages.approve, methods=["POST"]),
            Route("/v2/web/auth-code", pages.show_code),
            Route("/v2/oauth2/token", tokens.token, methods=["POST"]),
            Route("/v2/oauth2/token/revoke", tokens.revoke, methods=["POST"]),
            Route("/v2/oauth2/token/introspect", introspection.introspect, methods=["POST"]),
            Route("/v2/oauth2/userinfo", identities.userinfo, methods=["GET", "POST"]),
            Route("/v2/api/identities", identities.identities),
            Route("/v2/api/identities/{identity_id}/consents", identities.consents),
            Route("/v2/api/identity_providers", identities.identity_providers),
        ],
        exception_handlers={errors.AuthError: errors.render},
    )
