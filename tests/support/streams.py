"""Engines that stream as a test tells them to, and answers as vLLM 0.32 sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import Hops, InferenceRequest, StreamHead
from tests.support.doubles import BackendThatEchoes

HEAD = StreamHead(status=200, content_type="text/event-stream; charset=utf-8", transport="relay")
JSON_HEAD = replace(HEAD, content_type="application/json")
#: Bytes to send; an event to wait for; seconds to pause; an error to break off with.
Step: TypeAlias = bytes | asyncio.Event | float | errors.HotnodeError


class PacedStream:
    """An `AnswerStream` that takes one step after the other."""

    def __init__(self, steps: Iterable[Step], head: StreamHead = HEAD) -> None:
        self.head = head
        self.hops = Hops(engine_s=0.01)
        self.sent = 0
        self.closed = asyncio.Event()
        self._body = self._taken(steps)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body

    async def aclose(self) -> None:
        await self._body.aclose()
        self.closed.set()

    async def _taken(self, steps: Iterable[Step]) -> AsyncGenerator[bytes, None]:
        for step in steps:
            match step:
                case bytes():
                    self.sent += 1
                    yield step
                case asyncio.Event():
                    await step.wait()
                case errors.HotnodeError():
                    raise step
                case _:
                    await asyncio.sleep(step)


class BackendThatStreams(BackendThatEchoes):
    """Answers each request that wants a stream with the steps that `script` makes of it."""

    def __init__(self, *steps: Step, head: StreamHead = HEAD) -> None:
        super().__init__()
        self.script: Callable[[InferenceRequest], Iterable[Step]] = lambda _: steps
        self.head = head
        self.streams: list[PacedStream] = []
        self.opened = asyncio.Event()

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> PacedStream:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        stream = PacedStream(self.script(request), self.head)
        self.streams.append(stream)
        self.opened.set()
        return stream


DONE = b"data: [DONE]\n\n"
TOKENS = ("Par", "is", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The chunks of one chat answer, as vLLM sends them for what a request's options ask."""

    tokens: tuple[str, ...] = TOKENS
    prompt_tokens: int = 9
    options: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def asked(cls, request: InferenceRequest, *tokens: str) -> Chat:
        """Return the answer to a request."""
        options = json.loads(request.body).get("stream_options") or {}
        return cls(tokens=tokens or TOKENS, options=options)

    def events(self) -> list[bytes]:
        """Return all of them, to the end."""
        final = bool(self.options.get("include_usage"))
        continuous = final and bool(self.options.get("continuous_usage_stats"))
        made = [self._chunk({"role": "assistant", "content": ""}, 0, continuous, first=True)]
        for number, token in enumerate(self.tokens, 1):
            made.append(self._chunk({"content": token}, number, continuous))
        if final:
            made.append(self._event('"choices":[],' + self._usage(len(self.tokens))))
        return [*made, DONE]

    def _chunk(
        self, delta: dict[str, str], number: int, continuous: bool, *, first: bool = False
    ) -> bytes:
        reason = "stop" if number == len(self.tokens) else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        members = '"choices":[' + json.dumps(choice, separators=(",", ":")) + "]"
        if continuous:
            members += "," + self._usage(number)
        if first:
            members += ',"prompt_token_ids":null'
        return self._event(members)

    def _usage(self, made: int) -> str:
        return (
            f'"usage":{{"prompt_tokens":{self.prompt_tokens},'
            f'"total_tokens":{self.prompt_tokens + made},"completion_tokens":{made}}}'
        )

    @staticmethod
    def _event(members: str) -> bytes:
        begin = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"open/chat"'
        return f"data: {{{begin},{members}}}\n\n".encode()


def named(*events: tuple[str, dict[str, object]]) -> list[bytes]:
    """Return events with names, as vLLM writes them."""
    return [
        f"event: {name}\ndata: {json.dumps({'type': name} | data)}\n\n".encode()
        for name, data in events
    ]
