"""Asks a gateway as the openai SDK does, without its retries, and sees how each answer ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from lifecycle_parts.asked import Asked, End

#: No answer of these loads may take longer (seconds).
LONGEST_S = 120.0
FIRST_ERROR = 400
#: The code of an answer that broke off: its request may have run, and is not sent again.
INTERRUPTED = "backend_interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A chat of so many words at a pace, as a stream or in one piece."""

    model: str
    words: int = 4
    every_s: float = 0.0
    stream: bool = False

    def body(self) -> dict[str, Any]:
        """Return what is sent; the lifecycle engine reads the last two fields."""
        message = {"role": "user", "content": "Count."}
        fields = {"stream": True} if self.stream else {}
        own = {"tokens": self.words, "every_s": self.every_s}
        return {"model": self.model, "messages": [message], **fields, **own}


@dataclass(slots=True)
class _Stream:
    """What has come of a stream."""

    words: int = 0
    done: bool = False
    error: str = ""
    node: str = ""
    first_at: float | None = None
    comments: list[tuple[float, str]] = field(default_factory=list)

    def take(self, line: str) -> None:
        if line.startswith(":"):
            self.comments.append((time.time(), line[1:].strip()))
        elif line == "data: [DONE]":
            self.done = True
        elif line.startswith("data: "):
            self._take_event(json.loads(line.removeprefix("data: ")))

    def _take_event(self, event: Mapping[str, Any]) -> None:
        if "error" in event:
            self.error = str(event["error"].get("code"))
            return
        self.node = event.get("system_fingerprint") or self.node
        self.first_at = self.first_at or time.monotonic()
        self.words += 1

    def end(self, question: Question) -> tuple[End, str]:
        if self.error:
            return End.HONEST, self.error
        if self.done and self.words == question.words:
            return End.WHOLE, ""
        return End.CUT, f"after {self.words} words"


class Asker:
    """Asks at one base URL with one token."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = f"{base_url}/chat/completions"
        #: Comments of the last stream, each with its time (seconds since the epoch).
        self.comments: list[tuple[float, str]] = []

    async def ask(self, question: Question) -> Asked:
        """Ask, and return what became of it; nothing is raised for what the service does."""
        began = time.monotonic()
        stream = _Stream()
        try:
            async with asyncio.timeout(LONGEST_S):
                end, detail = await self._answered(question, stream)
        except TimeoutError:
            end, detail = End.HUNG, f"after {LONGEST_S:g} s"
        except aiohttp.ClientConnectorError:
            end, detail = End.UNREACHABLE, ""
        except aiohttp.ClientError as error:
            end, detail = End.CUT, type(error).__name__
        self.comments = stream.comments
        return Asked(
            streams=question.stream,
            began_at=began,
            ended_at=time.monotonic(),
            end=end,
            first_at=stream.first_at,
            words=stream.words,
            node=stream.node,
            detail=detail,
        )

    async def _answered(self, question: Question, stream: _Stream) -> tuple[End, str]:
        async with self._session.post(self._url, json=question.body()) as response:
            if response.status >= FIRST_ERROR:
                said = await _said(response)
                return (End.HONEST if said.endswith(INTERRUPTED) else End.REFUSED), said
            if question.stream:
                async for line in response.content:
                    stream.take(line.decode().strip())
                return stream.end(question)
            answer = await response.json()
            stream.node, stream.words = answer["system_fingerprint"], question.words
            stream.first_at = time.monotonic()
            return End.WHOLE, ""


async def _said(response: aiohttp.ClientResponse) -> str:
    """Return status and code of an error."""
    try:
        code = (await response.json())["error"]["code"]
    except (aiohttp.ContentTypeError, ValueError, KeyError, TypeError):
        code = "without a code"
    return f"{response.status} {code}"


def session(token: str) -> aiohttp.ClientSession:
    """Return a session of a person, to be closed by who opens it."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    )
