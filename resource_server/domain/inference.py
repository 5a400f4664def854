"""One request to an engine and what came back, whatever carried it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """An OpenAI request on its way to a cluster; `body` is what the caller sent, byte for byte.

    `path` is below the engine's root, as `/v1/chat/completions`; `timeout_s` is the caller's
    remaining patience in seconds.
    """

    request_id: str
    framework: str
    model: str
    path: str
    body: bytes
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


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
