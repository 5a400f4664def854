"""The pages where a person logs in: choose an identity, agree, and go back with a code."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from local_globus.auth import scopes
from local_globus.auth.authority import Authority, form_of, required
from local_globus.auth.codes import Approval, CodeBook
from local_globus.auth.errors import Forbidden, InvalidRequest
from local_globus.seed import Client, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A checked authorization request."""

    client: Client
    redirect_uri: str
    scopes: tuple[scopes.Scope, ...]
    policies: tuple[str, ...]
    domains: tuple[str, ...]


class LoginPages:
    """`GET` shows who can log in, `POST` logs one of them in."""

    def __init__(self, authority: Authority, codes: CodeBook) -> None:
        self._authority = authority
        self._codes = codes

    async def choose(self, request: Request) -> Response:
        """Show the identities, each a button."""
        query = dict(request.query_params)
        wish = self._checked(query)
        people = self._authority.directory.people
        buttons = [_button(identity) for person in people for identity in person.identities]
        return _page(
            "login.html",
            client=html.escape(wish.client.display_name),
            message=html.escape(query.get("session_message", "")),
            scopes="".join(f"<li>{html.escape(s)}</li>" for s in scopes.names(wish.scopes)),
            people="".join(buttons),
        )

    async def approve(self, request: Request) -> Response:
        """Log in the chosen identity and send the browser back with a code."""
        query = dict(request.query_params)
        wish = self._checked(query)
        username = required(await form_of(request), "username")
        identity = self._authority.directory.identity_by_username(username)
        if identity is None or self._authority.directory.account(identity.id).is_client:
            raise Forbidden(f"Nobody logs in as {username}")
        code = self._codes.write(self._approval(wish, query, identity))
        answer = urlencode({"code": code, "state": query.get("state", "_default")})
        return RedirectResponse(f"{wish.redirect_uri}?{answer}", status_code=303)

    async def show_code(self, request: Request) -> Response:
        """Show the code to paste into a program that has no web server."""
        return _page("code.html", code=html.escape(request.query_params.get("code", "")))

    def _checked(self, query: Mapping[str, str]) -> _Wish:
        fields = dict(query)
        client = self._authority.directory.client(required(fields, "client_id"))
        if client is None:
            raise InvalidRequest("Unknown client_id")
        if fields.get("response_type") != "code":
            raise InvalidRequest("Only response_type=code is supported")
        if client.kind == "public" and fields.get("code_challenge_method") != "S256":
            raise InvalidRequest("Native apps must send a code_challenge with method S256")
        wanted = tuple(scopes.parse(required(fields, "scope")))
        for scope in wanted:
            scopes.resource_server(scope.name, self._authority.directory)
        return _Wish(
            client=client,
            redirect_uri=self._allowed(client, required(fields, "redirect_uri")),
            scopes=wanted,
            policies=_listed(fields, "session_required_policies"),
            domains=_listed(fields, "session_required_single_domain"),
        )

    def _allowed(self, client: Client, uri: str) -> str:
        here = f"{self._authority.base_url}/auth/v2/web/auth-code"
        parts = urlsplit(uri)
        on_loopback = parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1"}
        if uri != here and uri not in client.redirect_uris and not on_loopback:
            raise InvalidRequest("The redirect_uri is not registered for this client")
        return uri

    def _approval(self, wish: _Wish, query: Mapping[str, str], identity: Identity) -> Approval:
        authority = self._authority
        if wish.domains and identity.domain not in wish.domains:
            raise Forbidden(f"Log in with an identity of {' or '.join(wish.domains)}")
        subject = authority.directory.account(identity.id).primary.id
        session_id = authority.sessions.open(identity.id)
        for policy in wish.policies:
            if not authority.meets(policy, subject, session_id):
                raise Forbidden(f"{identity.username} does not meet the required policy {policy}")
        authority.consents.grant(subject, wish.client.id, wish.scopes)
        return Approval(
            client_id=wish.client.id,
            redirect_uri=wish.redirect_uri,
            scopes=wish.scopes,
            subject=subject,
            session_id=session_id,
            offline=query.get("access_type") == "offline",
            challenge=query.get("code_challenge"),
            nonce=query.get("nonce"),
        )


def _listed(fields: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word for word in fields.get(name, "").split(",") if word)


def _button(identity: Identity) -> str:
    name, provider = html.escape(identity.name), html.escape(identity.provider.name)
    username = html.escape(identity.username, quote=True)
    return (
        f'<li><button name="username" value="{username}">{username}</button>'
        f" {name}, {provider}</li>"
    )


def _page(name: str, **values: str) -> HTMLResponse:
    text = resources.files("local_globus.auth").joinpath(name).read_text("utf-8")
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return HTMLResponse(Template(text).substitute(values), headers=headers)
