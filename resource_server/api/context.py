"""What the front door attached to a request: the services, the request's id, its log line."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest

from resource_server.api.streamed_body import StreamedBody
from resource_server.domain.identity import Person
from resource_server.ports import ObservedRequest
from resource_server.services.gateway import Gateway


class GatewayRequest(HttpRequest):
    """A request as the routes see it; for type checkers alone.

    `auth` is the person, on routes that authenticate; `log_fields` end up in the request's one
    log line.
    """

    auth: Person
    log_fields: dict[str, Any]
    observed: ObservedRequest | None
    received_at: float
    request_id: str
    scope: dict[str, Any]
    streamed: StreamedBody | None


def gateway_of(request: HttpRequest) -> Gateway:
    """Return the services that the front door opened."""
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined] # of every ASGI request
    gateway: Gateway = scope["state"]["gateway"]
    return gateway


def elapsed_s(request: GatewayRequest) -> float:
    """Return the seconds since the request's head arrived."""
    return time.perf_counter() - request.received_at
