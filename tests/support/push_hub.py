"""A hub for tests that takes pushed answers on a port of its own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from resource_server.adapters.pushed_streams import PushedStreams


@asynccontextmanager
async def push_hub(tls: ssl.SSLContext | None = None) -> AsyncIterator[PushedStreams]:
    """Yield what waits for answers; sites reach it at its `public_url`."""
    streams = PushedStreams("")
    application = web.Application(client_max_size=0)
    application.router.add_routes(streams.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "http" if tls is None else "https"
    streams.public_url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield streams
    finally:
        await runner.cleanup()
