"""No engine at all: for a runner that looks an input through, or writes results out."""

from __future__ import annotations

from batch import errors
from batch.transports.transport import EngineLoad, Reply, Request


class NoEngine:
    """Takes no request."""

    name = "no engine"

    async def ask(self, request: Request) -> Reply:
        """Refuse: whoever asks should not have begun the line."""
        raise errors.NotSent("there is no engine")

    async def ready(self) -> bool:
        """Never."""
        return False

    async def load(self) -> EngineLoad | None:
        """Tell nothing."""
        return None
