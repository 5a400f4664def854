"""The event loop of a process in which a relay runs: uvloop's where that is installed."""

from __future__ import annotations

import asyncio


def new() -> asyncio.AbstractEventLoop:
    """Return a new loop. On uvloop's a request costs the relay a seventh less of processor time."""
    try:
        import uvloop  # noqa: PLC0415 - a cluster whose processors it has no wheel for does without
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
