"""Refusals of the Compute web service, with the codes that it published.

ServiceError   a refusal with an HTTP status, the service's code, a reason and its arguments
"""

from __future__ import annotations

import math
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse


class ServiceError(Exception):
    """The Compute service refuses the call."""

    def __init__(self, status: int, code: int, reason: str, *, args: tuple[str, ...] = ()) -> None:
        self.status = status
        self.code = code
        self.reason = reason
        self.error_args = args
        self.headers: dict[str, str] = {}
        super().__init__(reason)

    def body(self) -> dict[str, Any]:
        """Return the JSON that the service would send."""
        return {
            "status": "Failed",
            "code": self.code,
            "error_args": list(self.error_args),
            "reason": self.reason,
            "http_status_code": self.status,
        }


def unauthenticated() -> ServiceError:
    """Say that no valid token came with the call."""
    reason = "Could not find user. You must be logged in to perform this function."
    return ServiceError(401, 1, reason)


def insufficient_scope() -> ServiceError:
    """Say that the token is for this service but lacks the scope."""
    return ServiceError(403, 24, "Insufficient scope for this action")


def function_not_found(id_: str) -> ServiceError:
    """Say that there is no such function."""
    return ServiceError(404, 3, f"Function {id_} could not be resolved", args=(id_,))


def endpoint_not_found(id_: str) -> ServiceError:
    """Say that there is no such endpoint."""
    return ServiceError(404, 4, f"Endpoint {id_} could not be resolved", args=(id_,))


def task_not_found(id_: str) -> ServiceError:
    """Say that there is no such task, or no more."""
    return ServiceError(404, 6, f"Task {id_} not found", args=(id_,))


def function_forbidden(id_: str) -> ServiceError:
    """Say that the caller may not use the function."""
    return ServiceError(403, 8, f"Unauthorized access to function {id_}", args=(id_,))


def endpoint_forbidden(id_: str) -> ServiceError:
    """Say that the caller may not use the endpoint."""
    return ServiceError(403, 9, f"Unauthorized access to endpoint {id_}", args=(id_,))


def function_not_permitted(function: str, endpoint: str) -> ServiceError:
    """Say that the endpoint does not allow the function."""
    reason = f"Function {function} not permitted on endpoint {endpoint}"
    return ServiceError(403, 10, reason, args=(function, endpoint))


def endpoint_already_registered(id_: str) -> ServiceError:
    """Say that the endpoint belongs to somebody else."""
    reason = f"Endpoint {id_} was already registered by a different user"
    return ServiceError(400, 11, reason, args=(id_,))


def malformed(what: str) -> ServiceError:
    """Say that the body of the request lacks something."""
    reason = f"Request Malformed. Missing critical information: {what}"
    return ServiceError(400, 17, reason, args=(what,))


def endpoint_outdated() -> ServiceError:
    """Say that the agent is older than those this service knows how to start."""
    oldest = "4.10.1"
    reason = f"Endpoint is out of date. Minimum supported endpoint version is {oldest}"
    return ServiceError(400, 19, reason, args=(oldest,))


def group_not_found(id_: str) -> ServiceError:
    """Say that there is no such task group."""
    return ServiceError(404, 20, f"Task Group {id_} could not be resolved", args=(id_,))


def group_forbidden(id_: str) -> ServiceError:
    """Say that the task group belongs to somebody else."""
    return ServiceError(403, 21, f"Unauthorized access to Task Group {id_}", args=(id_,))


def checked_uuid(text: str) -> str:
    """Return a UUID in its usual form, or refuse what is none."""
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError) as error:
        raise ServiceError(400, 22, f"Invalid UUID: {text}", args=(str(text),)) from error


def payload_too_large(limit: int) -> ServiceError:
    """Say that the submission is over the limit of the service."""
    return ServiceError(413, 0, f"Payload exceeds the limit of {limit} bytes")


def too_many_requests(wait_s: float) -> ServiceError:
    """Say that the caller used up the requests of the current window."""
    error = ServiceError(429, 0, "Too many requests: the limit is 20 requests in 10 seconds")
    error.headers["retry-after"] = str(max(1, math.ceil(wait_s)))
    return error


def queues_unavailable() -> ServiceError:
    """Say that the broker does not take messages."""
    return ServiceError(503, 0, "The message queues are not available")


async def render(request: Request, error: Exception) -> JSONResponse:
    """Answer a request with the refusal that its handler raised."""
    if not isinstance(error, ServiceError):
        raise error
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)
