"""The token endpoint: four ways to obtain tokens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.auth import scopes
from local_globus.auth.authority import Authority, form_of, required
from local_globus.auth.codes import CodeBook
from local_globus.auth.errors import (
    DependentConsentRequired,
    InvalidClient,
    InvalidCode,
    InvalidGrant,
    InvalidRequest,
)
from local_globus.auth.tokens import Token, fingerprint
from local_globus.seed import Client

Reply = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Award:
    """For whom and with which rights tokens are to be issued."""

    client: Client
    subject: str
    scopes: Sequence[str]
    session_id: str | None = None
    parent: str | None = None
    offline: bool = False
    nonce: str | None = None


class TokenEndpoint:
    """`POST /v2/oauth2/token`."""

    def __init__(self, authority: Authority, codes: CodeBook) -> None:
        self._authority = authority
        self._codes = codes
        self._grants = {
            "client_credentials": self._client_credentials,
            "authorization_code": self._authorization_code,
            "refresh_token": self._refresh_token,
            "urn:globus:auth:grant_type:dependent_token": self._dependent_token,
        }

    async def token(self, request: Request) -> JSONResponse:
        """Issue tokens, or explain why not."""
        form = await form_of(request)
        client = self._authority.clients.authenticate(request, form)
        grant = self._grants.get(form.get("grant_type", ""))
        if grant is None:
            raise InvalidRequest("Unsupported grant_type")
        reply = grant(client, form)
        self._authority.count(f"token {form['grant_type'].rpartition(':')[2]}")
        return JSONResponse(reply, headers={"cache-control": "no-store"})

    async def revoke(self, request: Request) -> JSONResponse:
        """Revoke a token and those obtained with it; an unknown token is no error."""
        form = await form_of(request)
        client = self._authority.clients.authenticate(request, form)
        self._authority.tokens.revoke(required(form, "token"), client.id)
        return JSONResponse({"active": False})

    def _client_credentials(self, client: Client, form: dict[str, str]) -> Reply:
        if client.kind == "public":
            raise InvalidClient("A native app has no credentials")
        wanted = scopes.names(scopes.parse(required(form, "scope")))
        return self._issue(_Award(client=client, subject=client.id, scopes=wanted))

    def _authorization_code(self, client: Client, form: dict[str, str]) -> Reply:
        approval = self._codes.redeem(required(form, "code"), form.get("code_verifier", ""))
        if (approval.client_id, approval.redirect_uri) != (client.id, form.get("redirect_uri")):
            raise InvalidCode
        award = _Award(
            client=client,
            subject=approval.subject,
            scopes=scopes.names(approval.scopes),
            session_id=approval.session_id,
            offline=approval.offline,
            nonce=approval.nonce,
        )
        return self._issue(award)

    def _refresh_token(self, client: Client, form: dict[str, str]) -> Reply:
        text = required(form, "refresh_token")
        token = self._authority.tokens.find(text, "refresh")
        if token is None or token.client_id != client.id:
            raise InvalidGrant
        award = _Award(
            client=client,
            subject=token.subject,
            scopes=token.scopes,
            session_id=token.session_id,
            parent=fingerprint(text),
        )
        return self._issue(award) | {"refresh_token": text}

    def _dependent_token(self, client: Client, form: dict[str, str]) -> list[Reply]:
        text = required(form, "token")
        token = self._authority.token(text)
        if token is None or token.resource_server != client.id:
            raise InvalidGrant
        award = _Award(
            client=client,
            subject=token.subject,
            scopes=self._dependent_scopes(token, form.get("scope")),
            session_id=token.session_id,
            parent=fingerprint(text),
            offline=form.get("access_type") == "offline",
        )
        reply = self._issue(award)
        return [reply, *reply.pop("other_tokens")]

    def _dependent_scopes(self, token: Token, wish: str | None) -> list[str]:
        agreed = [
            dependency
            for scope in token.scopes
            for dependency in self._authority.directory.dependencies(scope) or ()
        ]
        wanted = scopes.names(scopes.parse(wish)) if wish else agreed
        missing = [scope for scope in wanted if scope not in agreed]
        if missing:
            raise DependentConsentRequired(unapproved_scopes=missing)
        if not wanted:
            raise InvalidRequest("The scopes of this token depend on no others")
        return wanted

    def _issue(self, award: _Award) -> Reply:
        by_server: dict[str, list[str]] = {}
        for scope in award.scopes:
            server = scopes.resource_server(scope, self._authority.directory)
            by_server.setdefault(server, []).append(scope)
        if not by_server:
            raise InvalidRequest("No scope was asked for")
        first, *others = [self._pair(award, *item) for item in by_server.items()]
        if "openid" in award.scopes and award.parent is None:
            first["id_token"] = self._id_token(award)
        return first | {"state": "_default", "other_tokens": others}

    def _pair(self, award: _Award, server: str, granted: list[str]) -> Reply:
        tokens = self._authority.tokens
        token = Token(
            kind="access",
            client_id=award.client.id,
            subject=award.subject,
            resource_server=server,
            scopes=tuple(granted),
            session_id=award.session_id,
            parent=award.parent,
        )
        reply: Reply = {}
        if award.offline:
            reply["refresh_token"] = tokens.issue(replace(token, kind="refresh"))
            token = replace(token, parent=fingerprint(reply["refresh_token"]))
        return reply | {
            "access_token": tokens.issue(token),
            "scope": " ".join(granted),
            "expires_in": tokens.lifetime_s,
            "token_type": "Bearer",
            "resource_server": server,
        }

    def _id_token(self, award: _Award) -> str:
        account = self._authority.directory.account(award.subject)
        identity, now = account.primary, int(time.time())
        seen = self._authority.sessions.authentications(award.session_id)
        claims = {
            "iss": f"{self._authority.base_url}/auth",
            "sub": identity.id,
            "aud": award.client.id,
            "iat": now,
            "exp": now + self._authority.tokens.lifetime_s,
            "name": identity.name,
            "email": identity.username,
            "preferred_username": identity.username,
            "organization": identity.organization,
            "identity_provider": identity.provider.id,
            "identity_provider_display_name": identity.provider.name,
            "last_authentication": int(max(seen.values(), default=now)),
        }
        return self._authority.signing.sign(
            claims | ({"nonce": award.nonce} if award.nonce else {})
        )
