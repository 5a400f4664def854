"""What of a request reaches an engine, and what of its answer comes back: by every transport."""

from __future__ import annotations

from collections.abc import Mapping

REQUEST_HEADERS = frozenset({"accept", "content-type", "traceparent", "tracestate"})
RESPONSE_HEADERS = frozenset({"content-type", "retry-after", "x-request-id"})
#: No caller waits longer than this for one answer (seconds).
MAX_TIMEOUT_S = 3600.0


def request_headers(given: Mapping[str, str], request_id: str) -> dict[str, str]:
    """Return the headers for the engine; names are in lower case."""
    headers = {"content-type": "application/json"}
    for name, value in given.items():
        lower = name.lower()
        if lower in REQUEST_HEADERS:
            headers[lower] = value
    headers["x-request-id"] = request_id
    return headers


def response_headers(said: Mapping[str, str]) -> dict[str, str]:
    """Return the headers for the caller; `said` has its names in lower case, or knows no case.

    What is no header's value is left out: the contract carries none, and the answer is worth more.
    """
    return {
        name: said[name] for name in RESPONSE_HEADERS if name in said and said[name].isprintable()
    }


def patience_is_within_reason(seconds: float) -> bool:
    """Whether anybody can wait so long; NaN is not."""
    return 0 < seconds <= MAX_TIMEOUT_S
