"""What the runner needs of an engine: an answer to one request, and a word on how it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line on its way. `request_id` is for the engine's log.

    `may_go` is asked at the last moment, when a connection is there: a process may have been
    stopped since the line was begun. Bodies that are sent in parts go without that.
    """

    path: str
    body: bytes
    request_id: str
    may_go: Callable[[], bool] = _always


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the engine said, whatever its status. `retry_after_s` is None if it named no time."""

    status: int
    body: bytes
    request_id: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """How many requests the engine works on, and how many wait in it, whoever sent them."""

    running: int
    waiting: int


class Transport(Protocol):
    """An engine, and the way to it."""

    @property
    def name(self) -> str:
        """What a person calls the engine's place."""

    async def ask(self, request: Request) -> Reply:
        """Return the whole answer to one request, or raise a `CallFailed`, or `Withheld`."""

    async def ready(self) -> bool:
        """Whether the engine takes requests. Never raises for an engine that does not."""

    async def load(self) -> EngineLoad | None:
        """Return how busy the engine is; None if it does not tell."""
