"""Globus Auth and Groups that answer what a test wants, on a real HTTP server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from resource_server.adapters.globus_auth import GlobusAuth

Answer = Callable[[], web.Response]

INTROSPECT = "/v2/oauth2/token/introspect"
TOKEN = "/v2/oauth2/token"
GROUPS = "/v2/groups/my_groups"
DISCOVERY = "/.well-known/openid-configuration"


def said(value: Any, status: int = 200) -> Answer:
    """Answer with JSON."""
    return lambda: web.json_response(value, status=status)


def active(**values: Any) -> Answer:
    """Answer with an introspection of a good token, changed by `values`."""
    good = {
        "active": True,
        "sub": "a11ce",
        "username": "alice@example.org",
        "exp": 4_000_000_000,
        "aud": ["gateway"],
        "scope": "use",
    }
    return said(good | values)


class AuthThatAnswers:
    """An async context manager. `answers` are by path, `asked` the forms that came, in order.

    With `evaluations` it evaluates policies, and refuses a question about one that is not among
    them.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            INTROSPECT: active(),
            TOKEN: said(
                [{"resource_server": "groups.api.globus.org", "access_token": "for-groups"}]
            ),
            GROUPS: said([]),
            DISCOVERY: said({"issuer": "here"}),
        }
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.authorizations: list[str] = []
        self.evaluations: dict[str, bool] | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def provider(self, **settings: Any) -> GlobusAuth:
        """Return an adapter that asks here."""
        values = {
            "client_id": "gateway",
            "client_secret": "secret",
            "scope": "use",
            "auth_url": self.url,
            "groups_url": self.url,
        }
        return GlobusAuth(**(values | settings))

    async def _answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append((request.path, {name: str(value) for name, value in form.items()}))
        self.authorizations.append(request.headers.get("Authorization", ""))
        named = str(form.get("authentication_policies", ""))
        if self.evaluations is None or not named:
            return self.answers[request.path]()
        if not self.evaluations.keys() >= set(named.split(",")):
            return said({"error": "invalid_request"}, 400)()
        verdicts = {name: {"evaluation": self.evaluations[name]} for name in named.split(",")}
        return active(policy_evaluations=verdicts)()
