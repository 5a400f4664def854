"""One request to an engine and what came back, whatever carried it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from resource_server.domain import errors

#: The largest answer that is put together before it is passed on (bytes).
MOST_ANSWER = 64 * 1024 * 1024
#: Body fields that no caller may set on any framework: other gateways' private fields, and ways
#: to choose an address (requirements: alcf-routes).
RESERVED_EVERYWHERE = frozenset(
    {
        "api_port",
        "cache_salt",
        "openai_endpoint",
        "stream_task_id",
        "stream_task_token",
        "streaming_server_host",
        "streaming_server_port",
        "streaming_server_protocol",
    }
)

#: Every route that carries a request to an engine, below `/v1/`.
INFERENCE_ROUTES = frozenset(
    {
        "audio/transcriptions",
        "audio/translations",
        "chat/completions",
        "classify",
        "completions",
        "detokenize",
        "embeddings",
        "messages",
        "messages/count_tokens",
        "rerank",
        "responses",
        "score",
        "tokenize",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """An OpenAI request on its way to a cluster; `body` is what the caller sent, byte for byte.

    `path` is the route's, as `/v1/chat/completions`; the site knows where its engine has it.
    `timeout_s` is the caller's remaining patience in seconds. Requests of the same `affinity` go to
    the same instance of the model while its load allows: it has their prefix in its cache.
    """

    request_id: str
    framework: str
    model: str
    path: str
    body: bytes
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    affinity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """Where the time of one request went, in seconds.

    `queue_s` is the wait for the gateway's turn at Globus, `transport_s` the way there and back,
    `site_s` the site's function without the engine, `engine_s` the engine.
    """

    queue_s: float = 0.0
    transport_s: float = 0.0
    site_s: float = 0.0
    engine_s: float = 0.0

    def beside(self, total_s: float) -> float:
        """Return what of all a request's time is left for the gateway itself."""
        return max(0.0, total_s - self.queue_s - self.transport_s - self.site_s - self.engine_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceAnswer:
    """The engine's answer, whatever its status, and how it got here.

    `headers` are those of the engine that a caller can act on, as `retry-after`. `task_id` is the
    Globus Compute task, where one carried the request.
    """

    status: int
    body: bytes
    content_type: str
    transport: str
    hops: Hops
    headers: Mapping[str, str] = field(default_factory=dict)
    task_id: str | None = None


def answer_too_large(most: int) -> errors.AnswerTooLarge:
    """Return the error of an answer of more than `most` bytes, which is not put together."""
    return errors.AnswerTooLarge(
        f"The answer is larger than {most} bytes. Ask for less at once; a stream has no such limit."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """How an answer begins that comes piece by piece, whatever its status.

    `headers` are those of the engine that a caller can act on.
    """

    status: int
    content_type: str
    transport: str
    headers: Mapping[str, str] = field(default_factory=dict)
    task_id: str | None = None


class Stopped(Enum):
    """What is known of a request whose engine was hung up on when its caller left: no more."""

    CANCELLED = "cancelled"


#: Told what came of a request whose caller has left: the answer, that its engine was stopped, or
#: None if nothing ran or nobody knows.
Late: TypeAlias = Callable[[InferenceAnswer | Stopped | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost, in tokens, as its engine counted them.

    `cached` of the input tokens were in the engine's cache, `reasoning` of the output tokens were
    thoughts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """All tokens."""
        return self.input_tokens + self.output_tokens

    def joined(self, other: Usage) -> Usage:
        """Return what two reports about one answer say together; each counts from its beginning."""
        return Usage(
            input_tokens=max(self.input_tokens, other.input_tokens),
            output_tokens=max(self.output_tokens, other.output_tokens),
            cached_tokens=max(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=max(self.reasoning_tokens, other.reasoning_tokens),
        )

    def numbers(self) -> dict[str, int]:
        """Return each number by its name."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer:
    """What came of a request whose caller had left. `operation` is its path below `/v1/`.

    Without an answer its engine was `stopped`, or nothing ran, or nobody knows.
    """

    request_id: str
    cluster: str
    framework: str
    model: str
    operation: str
    answer: InferenceAnswer | None
    usage: Usage | None
    stopped: bool = False

    @property
    def result(self) -> str:
        """What came of it, in one word."""
        if self.answer is not None:
            return "answered"
        return Stopped.CANCELLED.value if self.stopped else "unknown"
