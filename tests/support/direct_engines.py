"""Engines on ports of their own, and clusters that lead the gateway straight to them."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from resource_server.domain.catalog import Cluster, DirectTarget, Framework, Transport
from resource_server.domain.inference import InferenceRequest


@asynccontextmanager
async def engine_at(engine: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve `engine.answer` for every path; yield the address."""
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", engine.answer)
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    scheme = "http" if context is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def cluster_at(url: str, **target: Any) -> Cluster:
    """Return a cluster whose one framework is at an address."""
    direct = DirectTarget(url=url, **target)
    return Cluster(
        name="service",
        description="",
        frameworks={"vllm": Framework(name="vllm", direct=direct)},
        transports=(Transport.DIRECT,),
        request_timeout_s=20.0,
    )


def asking(*, timeout_s: float = 20.0, **changes: Any) -> InferenceRequest:
    """Return a request whose body says how a paced engine shall behave."""
    headers = changes.pop("headers", {"content-type": "application/json"})
    path = changes.pop("path", "/v1/chat/completions")
    return InferenceRequest(
        request_id="r-1",
        framework="vllm",
        model="vendor/model",
        path=path,
        body=json.dumps({"model": "vendor/model", **changes}).encode(),
        timeout_s=timeout_s,
        headers=headers,
    )
