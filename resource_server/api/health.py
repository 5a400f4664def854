"""Whether it is alive and fit to serve: for load balancers, open to everyone."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from resource_server.api.context import gateway_of

router = Router(tags=["Health"], auth=None)


# Some load balancers ask with HEAD, which says as much by its status.
@router.api_operation(["HEAD"], "/health", include_in_schema=False)
@router.get("/health", summary="Whether the process answers")
async def health(request: HttpRequest) -> dict[str, str]:
    """Answer as long as the process runs; asks nothing of anyone."""
    return {"status": "ok"}


@router.api_operation(["HEAD"], "/ready", response={200: Any, 503: Any}, include_in_schema=False)
@router.get("/ready", response={200: Any, 503: Any}, summary="Whether requests can be served")
async def ready(request: HttpRequest) -> Status[dict[str, Any]]:
    """Answer 200 if database and Globus Auth answer, else 503 with the part that does not."""
    checks = await gateway_of(request).readiness.check()
    fit = all(checks.values())
    return Status(200 if fit else 503, {"status": "ok" if fit else "unavailable", "checks": checks})
