"""Requests at a site as the gateway's function call makes them, and their answers read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from compute_functions import run_request
from compute_functions.contract import EngineAnswer, EngineRequest, SiteFailure, read_reply
from tests.support.engine import RunningEngine

#: A form's file: its name and its bytes.
File = tuple[str, bytes]


async def send(
    engine: RunningEngine,
    route: str,
    body: bytes,
    *,
    content_type: str = "application/json",
    timeout_s: float = 60.0,
) -> EngineAnswer | SiteFailure:
    """Send bytes to a route of the engine's model."""
    request = EngineRequest(
        request_id="acceptance",
        framework=engine.framework,
        model=engine.model,
        path=f"/v1/{route}",
        headers={"content-type": content_type},
        body=body,
        timeout_s=timeout_s,
    )
    reply = read_reply(await run_request.answer(request.to_wire()))
    assert isinstance(reply, EngineAnswer | SiteFailure)
    return reply


async def said(engine: RunningEngine, route: str, **body: Any) -> dict[str, Any]:
    """Send an object with the model's name, and return the object that must come with a 200."""
    status, answer = await answered(engine, route, **body)
    assert status == 200, answer
    return answer


async def answered(engine: RunningEngine, route: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """Send an object with the model's name; return status and object, whatever the status."""
    reply = await send(engine, route, json.dumps({"model": engine.model, **body}).encode())
    assert isinstance(reply, EngineAnswer), reply
    return reply.status, json.loads(reply.body)


def form(fields: Mapping[str, str], files: Mapping[str, File]) -> tuple[bytes, str]:
    """Return a multipart body as clients write it, and its content type."""
    mark = secrets.token_hex(8)
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, (file, content) in files.items():
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content)
        parts.append(b"\r\n")
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"
