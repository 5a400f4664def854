"""What Prometheus reads, for who has the token for it; there is no such URL without a token set."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.security import HttpBearer
from typing_extensions import override

from resource_server.api import refusals
from resource_server.api.auth import bearer_token
from resource_server.api.context import gateway_of
from resource_server.services.metrics import Metrics


class MetricsToken(HttpBearer):
    """Asks for the token for metrics, which is no person's; returns what it opens."""

    @override
    async def __call__(self, request: HttpRequest) -> Metrics:
        """Return the page's keeper, or raise `NotFound` or `Unauthenticated`."""
        return await self.authenticate(request, bearer_token(request))

    @override
    async def authenticate(self, request: HttpRequest, token: str) -> Metrics:
        """Check the token."""
        metrics = gateway_of(request).metrics
        if metrics is None:
            raise refusals.no_such_url(request.method, request.path)
        metrics.require(token)
        return metrics


class MetricsRequest(HttpRequest):
    """A request with the right token; for type checkers alone."""

    auth: Metrics


router = Router(tags=["Operations"], auth=MetricsToken())


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: MetricsRequest) -> HttpResponse:
    """Return all metrics in Prometheus's text format, or in OpenMetrics where that is asked for."""
    page = await request.auth.page(request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(page.content, content_type=page.content_type)
