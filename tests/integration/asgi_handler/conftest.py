"""A real server with the lean handler, in front of views made for the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pytest_django import Settings
from structlog.testing import capture_logs
from structlog.typing import EventDict

from resource_server.api.body import Bodies
from resource_server.api.errors import error_response
from resource_server.api.handler import LeanHandler
from tests.support.raw_client import RawClient
from tests.support.served import served
from tests.support.views import Views

MAX_BODY_BYTES = 5_000_000


class Log:
    """A processor of structlog that keeps every event, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._grown = asyncio.Event()

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        """Keep an event."""
        self.events.append(dict(event))
        self._grown.set()
        return event

    def lines(self) -> list[dict[str, Any]]:
        """Return the requests' lines so far."""
        return [event for event in self.events if event["event"] == "http_request"]

    async def line_of(self, path: str) -> dict[str, Any]:
        """Wait for the line of the one request to this path."""
        async with asyncio.timeout(10):
            while not (found := [line for line in self.lines() if line["path"] == path]):
                self._grown.clear()
                await self._grown.wait()
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A running server: a client of it, its port, and what it logs."""

    port: int
    client: aiohttp.ClientSession
    log: Log

    async def connect(self) -> RawClient:
        """Open a connection on which a test writes bytes of its own."""
        return await RawClient.connect(self.port)


@pytest.fixture
def views(settings: Settings, tmp_path: Path) -> Iterator[Views]:
    """Install views of the test's own; whatever blocks in one is let go in the end."""
    settings.ROOT_URLCONF = views = Views(tmp_path)
    yield views
    views.blocked.set()


@pytest.fixture
def stall_timeout_s() -> float:
    """Seconds for which a client may stall."""
    return 60.0


@pytest.fixture
def limits() -> dict[str, float]:
    """Return what else the handler is told."""
    return {}


@pytest.fixture
async def front(
    views: Views, stall_timeout_s: float, limits: dict[str, Any]
) -> AsyncIterator[Front]:
    """Start the server."""
    log = Log()
    with capture_logs([log]):
        handler = LeanHandler(
            bodies=Bodies(max_bytes=MAX_BODY_BYTES, **limits),
            error_response=error_response,
            stall_timeout_s=stall_timeout_s,
        )
        async with (
            served(handler) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}/") as client,
        ):
            yield Front(port=port, client=client, log=log)
