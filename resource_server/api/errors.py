"""Every error in OpenAI's envelope, with the status and headers that clients act on."""

from __future__ import annotations

import math

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import ValidationError

from resource_server.domain import errors

#: Status and OpenAI's `type` of each error; the first class that fits counts.
RENDERINGS: tuple[tuple[type[errors.HotnodeError], int, str], ...] = (
    (errors.Unauthenticated, 401, "authentication_error"),
    (errors.Forbidden, 403, "permission_error"),
    (errors.NotFound, 404, "not_found_error"),
    (errors.PayloadTooLarge, 413, "invalid_request_error"),
    (errors.CallerError, 400, "invalid_request_error"),
    (errors.AnswerTooLarge, 502, "upstream_error"),
    (errors.BackendTimeout, 504, "timeout_error"),
    (errors.UpstreamError, 503, "service_unavailable_error"),
    (errors.HotnodeError, 500, "server_error"),
)


def error_response(error: errors.HotnodeError) -> HttpResponse:
    """Return the response for one of our errors."""
    status, kind = next((s, k) for cls, s, k in RENDERINGS if isinstance(error, cls))
    response = envelope(
        status, kind=kind, message=error.message, code=error.code, param=error.param
    )
    if status == 401:  # noqa: PLR2004 - the status is the reason for the header
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.UpstreamError):
        _say_whether_to_retry(response, error)
    if error.task_id:
        response["x-hotnode-globus-task-id"] = error.task_id
    return response


def envelope(
    status: int, *, kind: str, message: str, code: str, param: str | None = None
) -> HttpResponse:
    """Return an error body as OpenAI's clients read it."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return HttpResponse(msgspec.json.encode(body), status=status, content_type="application/json")


def install(api: NinjaAPI) -> None:
    """Make `api` render our errors and the framework's own refusals in this envelope."""

    @api.exception_handler(errors.HotnodeError)
    def ours(request: HttpRequest, error: errors.HotnodeError) -> HttpResponse:
        return error_response(error)

    @api.exception_handler(ValidationError)
    def parameters(request: HttpRequest, error: ValidationError) -> HttpResponse:
        first = error.errors[0]
        param = str(first["loc"][-1])
        return error_response(errors.InvalidRequest(f"{param}: {first['msg']}", param=param))


def _say_whether_to_retry(response: HttpResponse, error: errors.UpstreamError) -> None:
    """Tell clients, which otherwise repeat every 5xx, whether repeating helps and when."""
    if error.retry_after_s is None:
        response["x-should-retry"] = "false"
    else:
        response["Retry-After"] = str(math.ceil(error.retry_after_s))
        response["x-should-retry"] = "true"
