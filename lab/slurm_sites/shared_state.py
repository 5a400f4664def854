"""What a gateway of several processes shares: PostgreSQL, Redis, and the hub's socket."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from lab.system.postgresql import postgresql
from lab.system.redis import redis


@asynccontextmanager
async def shared_state(folder: Path, *, workers: int) -> AsyncIterator[Mapping[str, str]]:
    """Run it beside the body, and yield the settings that name it; one process needs none.

    The log is JSON then: it tells which process is which. Raises `PackageMissing`.
    """
    if workers == 1:
        yield {}
        return
    async with postgresql(folder) as database, redis(folder) as cache:
        # Sockets' paths must be short, and their folder ours alone.
        with tempfile.TemporaryDirectory(prefix="hotnode-hub-") as sockets:
            yield {
                "workers": str(workers),
                "database_url": database.url,
                "redis_url": cache.url,
                "hub_socket": str(Path(sockets) / "hub.sock"),
                "log_format": "json",
            }
