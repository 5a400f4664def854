"""What the lines of one batch may be: endpoints, model, limits."""

from __future__ import annotations

from dataclasses import dataclass

EMBEDDINGS = "/v1/embeddings"
#: The paths that lines may name.
ENDPOINTS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        EMBEDDINGS,
        "/v1/responses",
        "/v1/rerank",
    }
)
#: The longest line, without its end (bytes).
MOST_LINE_BYTES = 10 * 1024**2
#: So many lines a batch has at most, where nobody says otherwise.
USUAL_LINES = 150_000
#: Body fields that every gateway refuses: it, or a cluster, sets them itself.
RESERVED_BY_GATEWAYS = frozenset(
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
#: Where engines that have a `cache_salt` take it.
SALTED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which lines a batch takes. With `model` or `endpoint` None the first line names it.

    `most_bytes` is the largest file, `most_line_bytes` the longest line, `most_inputs` how many
    embedding inputs there may be in all lines together: None for one in each line, and for as many
    as usual where there are fewer lines. A body has none of the fields `reserved`, and names images
    by address only with `remote_images`: then the engine opens addresses.
    """

    endpoints: frozenset[str] = ENDPOINTS
    model: str | None = None
    endpoint: str | None = None
    most_lines: int = USUAL_LINES
    most_bytes: int = 16 * 1024**3
    most_line_bytes: int = MOST_LINE_BYTES
    most_inputs: int | None = None
    reserved: frozenset[str] = frozenset()
    remote_images: bool = False

    @property
    def inputs(self) -> int:
        """How many embedding inputs there may be."""
        if self.most_inputs is None:
            return max(self.most_lines, USUAL_LINES)
        return self.most_inputs
