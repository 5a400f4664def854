"""Token introspection, for the service a token is meant for and the client that holds it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.auth.authority import Authority, form_of, required
from local_globus.auth.errors import InvalidRequest
from local_globus.auth.identities import described
from local_globus.auth.tokens import Token
from local_globus.seed import Client

_ISSUER = "https://auth.globus.org"


class IntrospectionEndpoint:
    """`POST /v2/oauth2/token/introspect`."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def introspect(self, request: Request) -> JSONResponse:
        """Say whether a token is good, for whom, and which policies its session meets.

        A client that the token does not concern learns nothing: it gets the same `active: false`
        as for a token that never was (RFC 7662, section 2.2).
        """
        form = await form_of(request)
        client = self._authority.clients.authenticate_confidential(request, form)
        self._authority.count("introspection")
        token = self._authority.token(required(form, "token"))
        if token is None or not _concerns(token, client):
            return JSONResponse({"active": False})
        return JSONResponse(
            self._claims(token)
            | self._included(token, form.get("include", "").split(","))
            | self._evaluations(token, form.get("authentication_policies"))
        )

    def _claims(self, token: Token) -> dict[str, Any]:
        identity = self._authority.directory.account(token.subject).primary
        return {
            "active": True,
            "token_type": "Bearer",
            "scope": " ".join(token.scopes),
            "client_id": token.client_id,
            "sub": identity.id,
            "username": identity.username,
            "name": identity.name,
            "email": identity.username,
            "iat": int(token.issued_at),
            "nbf": int(token.issued_at),
            "exp": int(token.expires_at or 0),
            "aud": [token.resource_server, token.client_id],
            "iss": _ISSUER,
        }

    def _included(self, token: Token, names: list[str]) -> dict[str, Any]:
        account = self._authority.directory.account(token.subject)
        included: dict[str, Any] = {}
        if "identity_set" in names:
            included["identity_set"] = [identity.id for identity in account.identities]
        if "identity_set_detail" in names:
            detail = described(self._authority, account, token.session_id)
            included["identity_set_detail"] = detail
        if "session_info" in names:
            included["session_info"] = self._session(token)
        return included

    def _session(self, token: Token) -> dict[str, Any]:
        seen = self._authority.sessions.authentications(token.session_id)
        identities = {id_: self._authority.directory.identity(id_) for id_ in seen}
        return {
            "session_id": token.session_id,
            "authentications": {
                id_: {
                    "idp": identity.provider.id,
                    "auth_time": int(seen[id_]),
                    "acr": None,
                    "amr": None,
                    "custom_claims": {},
                }
                for id_, identity in identities.items()
                if identity is not None
            },
        }

    def _evaluations(self, token: Token, named: str | None) -> dict[str, Any]:
        if not named:
            return {}
        evaluations = {}
        for policy in named.split(","):
            verdict = self._authority.meets(policy, token.subject, token.session_id)
            if verdict is None:
                raise InvalidRequest(f"Unknown authentication policy: {policy}")
            evaluations[policy] = {"evaluation": verdict}
        return {"policy_evaluations": evaluations}


def _concerns(token: Token, client: Client) -> bool:
    return client.id in {token.resource_server, token.client_id}
