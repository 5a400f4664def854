"""Whether it is alive and fit to serve: for load balancers, open to everyone."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from resource_server.api.context import gateway_of
from resource_server.services.readiness import Fitness


def make_router(name: str) -> Router:
    """Return the routes; `name` tells the operations of several mounts apart."""
    router = Router(tags=["Health"], auth=None)
    either: dict[int, Any] = {200: Any, 503: Any}
    # Some load balancers ask with HEAD, which says as much by its status.
    for methods, shown in ((["GET"], True), (["HEAD"], False)):
        router.add_api_operation(
            "/health",
            methods,
            health,
            summary="Whether the process answers",
            operation_id=f"{name}_health",
            include_in_schema=shown,
        )
        router.add_api_operation(
            "/ready",
            methods,
            ready,
            response=either,
            summary="Whether requests can be served",
            operation_id=f"{name}_ready",
            include_in_schema=shown,
        )
    return router


async def health(request: HttpRequest) -> dict[str, str]:
    """Answer as long as the process runs; asks nothing of anyone."""
    return {"status": "ok"}


async def ready(request: HttpRequest) -> Status[dict[str, Any]]:
    """Answer 200 if this process can serve, else 503; the body names the parts that do not answer.

    What all processes share, as the database, makes the status `degraded` and not the answer 503:
    a load balancer would take them all away, and with them those requests that can be served.
    """
    report = await gateway_of(request).readiness.check()
    status = 503 if report.fitness is Fitness.UNAVAILABLE else 200
    return Status(status, {"status": report.fitness.value, "checks": report.checks})
