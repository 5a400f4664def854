"""Switches for tests and demonstrations under `/_local/`, off unless asked for.

None of this exists at Globus: an outage, tokens revoked behind somebody's back, time that passes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from local_globus.auth.authority import Authority


@dataclass(slots=True, kw_only=True)
class Weather:
    """How the service behaves at the moment: a status instead of answers, and a delay."""

    status: int | None = None
    delay_s: float = 0.0


class WithWeather:
    """Middleware: let a service suffer what its `Weather` says."""

    def __init__(self, app: ASGIApp, weather: Weather) -> None:
        self._app = app
        self._weather = weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delay the request, then refuse it or hand it on."""
        await asyncio.sleep(self._weather.delay_s)
        if self._weather.status is None:
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse({"error": "outage"}, status_code=self._weather.status)
        await refusal(scope, receive, send)


class Controls:
    """The handlers of the switches."""

    def __init__(self, authority: Authority, weather: dict[str, Weather]) -> None:
        self._authority = authority
        self._weather = weather

    async def set_weather(self, request: Request) -> JSONResponse:
        """Begin or end an outage or a delay of one service."""
        wanted: dict[str, Any] = await request.json()
        weather = self._weather[request.path_params["service"]]
        weather.status, weather.delay_s = wanted.get("status"), wanted.get("delay_s", 0.0)
        return JSONResponse({})

    async def revoke(self, request: Request) -> JSONResponse:
        """Revoke every token of a person."""
        identity = self._authority.directory.identity_by_username(request.path_params["username"])
        if identity is None:
            return JSONResponse({"error": "no such person"}, status_code=404)
        subject = self._authority.directory.account(identity.id).primary.id
        return JSONResponse({"revoked": self._authority.tokens.revoke_subject(subject)})

    async def age(self, request: Request) -> JSONResponse:
        """Make the logins of a person older."""
        identity = self._authority.directory.identity_by_username(request.path_params["username"])
        if identity is None:
            return JSONResponse({"error": "no such person"}, status_code=404)
        seconds = float((await request.json())["seconds"])
        return JSONResponse({"aged": self._authority.sessions.age(identity.id, seconds)})

    async def advance(self, request: Request) -> JSONResponse:
        """Move the clock of the whole service forward."""
        self._authority.clock.advance(float((await request.json())["seconds"]))
        return JSONResponse({"now": self._authority.clock.now()})

    async def counters(self, request: Request) -> JSONResponse:
        """Return how often things happened since the start or the last `DELETE`."""
        counted = dict(self._authority.counters)
        if request.method == "DELETE":
            self._authority.counters.clear()
        return JSONResponse(counted)


def application(authority: Authority, weather: dict[str, Weather]) -> Starlette:
    """Return the switches as an ASGI application."""
    controls = Controls(authority, weather)
    return Starlette(
        routes=[
            Route("/weather/{service}", controls.set_weather, methods=["PUT"]),
            Route("/people/{username}/revoke", controls.revoke, methods=["POST"]),
            Route("/people/{username}/age", controls.age, methods=["POST"]),
            Route("/clock/advance", controls.advance, methods=["POST"]),
            Route("/counters", controls.counters, methods=["GET", "DELETE"]),
        ]
    )
