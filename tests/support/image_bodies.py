"""Bodies of chat completions that name images."""

from __future__ import annotations

import json
from typing import Any

from resource_server.api.json_body import JsonBody
from resource_server.ports import RequestBody


def chat(*urls: str) -> JsonBody:
    """Return a chat completion's body that names images."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}]
    content += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return JsonBody(json.dumps(body).encode())


def named(body: RequestBody) -> list[str]:
    """Return the addresses that such a body names."""
    (message,) = json.loads(body.content)["messages"]
    return [part["image_url"]["url"] for part in message["content"][1:]]
