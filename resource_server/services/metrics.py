"""Shows the gateway's metrics to who has the token for them."""

from __future__ import annotations

import hmac

from resource_server.domain import errors
from resource_server.domain.metrics import Page
from resource_server.ports import MetricsSource


class Metrics:
    """Guards the page of metrics. Its token is no person's, and needs no Globus."""

    def __init__(self, source: MetricsSource, *, token: str) -> None:
        self._source = source
        self._token = token.encode()

    def require(self, token: str) -> None:
        """Raise `Unauthenticated` unless it is the token for metrics."""
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._token):
            raise errors.Unauthenticated(
                "This is not the token for metrics. Send the one in the gateway's settings: "
                "'Authorization: Bearer <token>'."
            )

    async def page(self, accept: str) -> Page:
        """Return the page in the form that a reader's `Accept` asks for."""
        return await self._source.render(accept)
