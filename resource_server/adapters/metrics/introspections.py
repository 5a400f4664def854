"""Measures how long the identity provider takes, and what comes of it."""

from __future__ import annotations

import time

from prometheus_client import Histogram

from resource_server.domain import errors
from resource_server.domain.identity import Grant
from resource_server.ports import IdentityProvider


class MeasuredProvider:
    """An identity provider whose answers are timed; cached grants never come here."""

    def __init__(self, provider: IdentityProvider, seconds: Histogram) -> None:
        self._provider = provider
        self._seconds = seconds

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        """Return what the provider says; see the port."""
        began = time.perf_counter()
        result = "failed"
        try:
            grant = await self._provider.identify(token, known=known, policies=policies)
            result = "granted"
        except errors.CallerError:
            result = "refused"
            raise
        except errors.UpstreamError:
            result = "unavailable"
            raise
        finally:
            self._seconds.labels(result).observe(time.perf_counter() - began)
        return grant

    async def available(self) -> bool:
        """Tell whether the provider answers right now."""
        return await self._provider.available()
