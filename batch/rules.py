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
#: Where engines that have a `cache_salt` take it.
SALTED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which lines a batch takes. With `model` or `endpoint` None the first line names it.

    `most_bytes` is the largest file, `most_line_bytes` the longest line, `most_inputs` how many
    embedding inputs there may be in all lines together. A body has none of the fields `reserved`.
    """

    endpoints: frozenset[str] = ENDPOINTS
    model: str | None = None
    endpoint: str | None = None
    most_lines: int = 150_000
    most_bytes: int = 16 * 1024**3
    most_line_bytes: int = 10 * 1024**2
    most_inputs: int = 50_000
    reserved: frozenset[str] = frozenset()
