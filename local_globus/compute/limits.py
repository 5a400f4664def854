"""The limits that Globus Compute documents, and how they are enforced."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from local_globus.compute import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one identity may ask for; `requests` is per `window_s` seconds."""

    requests: int = 20
    window_s: float = 10.0
    payload_bytes: int = 10_000_000
    result_bytes: int = 10_000_000
    result_kept_s: float = 30 * 60
    task_kept_s: float = 14 * 24 * 3600


DOCUMENTED = Limits()
#: For tests and demonstrations of other things.
NONE = Limits(requests=2**31, payload_bytes=2**30, result_bytes=2**30, result_kept_s=14 * 24 * 3600)


class RequestBudget:
    """Counts the requests of each identity in a sliding window."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: dict[str, deque[float]] = {}

    def spend(self, identity_id: str) -> None:
        """Count a request, or refuse it and say when there is room again."""
        now = time.monotonic()
        seen = self._seen.setdefault(identity_id, deque())
        while seen and seen[0] <= now - self._limits.window_s:
            seen.popleft()
        if len(seen) >= self._limits.requests:
            raise errors.too_many_requests(seen[0] + self._limits.window_s - now)
        seen.append(now)


async def json_body(request: Request, limits: Limits) -> dict[str, Any]:
    """Read the JSON object of a request, without ever holding more than the limit."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limits.payload_bytes:
        raise errors.payload_too_large(limits.payload_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.payload_bytes:
            raise errors.payload_too_large(limits.payload_bytes)
    try:
        content = json.loads(body)
    except ValueError as error:
        raise errors.malformed("the body is not JSON") from error
    if not isinstance(content, dict):
        raise errors.malformed("the body is not a JSON object")
    return content
