"""Every error in the envelope of its route, with the status and headers that clients act on."""

from __future__ import annotations

import math
import re

import msgspec
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import ValidationError

from resource_server.api import refusals
from resource_server.api.bases import MOUNTS
from resource_server.api.rate_limit_headers import rate_limit_headers
from resource_server.domain import errors

#: Status and OpenAI's `type` of each error; the first class that fits counts.
RENDERINGS: tuple[tuple[type[errors.HotnodeError], int, str], ...] = (
    (errors.Unauthenticated, 401, "authentication_error"),
    (errors.Forbidden, 403, "permission_error"),
    (errors.NotFound, 404, "not_found_error"),
    (errors.PayloadTooLarge, 413, "invalid_request_error"),
    (refusals.MethodNotAllowed, 405, "invalid_request_error"),
    (refusals.BodyStalled, 408, "invalid_request_error"),
    (refusals.RangeNotSatisfiable, 416, "invalid_request_error"),
    (errors.RateLimited, 429, "rate_limit_error"),
    (errors.TooManyBatches, 429, "rate_limit_error"),
    (errors.FileQuotaExceeded, 429, "insufficient_quota"),
    (errors.BatchNotOffered, 403, "permission_error"),
    (errors.CallerError, 400, "invalid_request_error"),
    (errors.AnswerTooLarge, 502, "upstream_error"),
    (errors.BackendTimeout, 504, "timeout_error"),
    (errors.UpstreamError, 503, "service_unavailable_error"),
    (errors.HotnodeError, 500, "server_error"),
)


#: What only the operators can help with, if anybody can: another model, access, more of it.
FOR_OPERATORS = (
    errors.Forbidden,
    errors.ModelNotFound,
    errors.RateLimited,
    errors.UpstreamError,
    refusals.InternalError,
)
#: Anthropic's words for statuses; others are `api_error`.
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
#: What older openai SDKs wait for at the most, in seconds.
LONGEST_WAIT_OF_CLIENTS_S = 60.0
#: Where clients read Anthropic's envelope: below each base URL, and nowhere else.
_ANTHROPIC = re.compile(
    "|".join(
        re.sub(r"\{\w+\}", "[^/]+", mount.path) + "/messages(/count_tokens)?" for mount in MOUNTS
    )
)


def error_response(error: errors.HotnodeError, path: str = "") -> HttpResponse:
    """Return the response for one of our errors, in the dialect of the route at `path`."""
    status, kind = rendering_of(type(error))
    message = _with_contact(error)
    if _ANTHROPIC.fullmatch(path):
        response = _anthropic_envelope(status, message=message, code=error.code)
    else:
        response = _envelope(status, kind=kind, message=message, code=error.code, param=error.param)
    _advise(response, error)
    if error.task_id:
        response["x-hotnode-globus-task-id"] = error.task_id
    return response


def _advise(response: HttpResponse, error: errors.HotnodeError) -> None:
    """Say in headers, and beside the message, what a client should do now."""
    match error:
        case errors.Unauthenticated():
            response["WWW-Authenticate"] = "Bearer"
        case errors.ReauthenticationRequired():
            _say_how_to_log_in(response, error)
        case refusals.BodyStalled():
            # The rest of the body may still come, and is not the next request.
            response["Connection"] = "close"
        case errors.RateLimited():
            _say_when_to_retry(response, error)
        case errors.TooManyBatches() | errors.FileQuotaExceeded():
            # Waiting does not make room: the caller has to.
            response["x-should-retry"] = "false"
        case errors.UpstreamError():
            _say_whether_to_retry(response, error)
    if isinstance(error, (errors.ModelLoading, errors.ModelUnavailable)):
        _say_how_it_stands(response, error)


def rendering_of(kind: type[errors.HotnodeError]) -> tuple[int, str]:
    """Return the status and OpenAI's `type` of a kind of error."""
    return next((status, word) for cls, status, word in RENDERINGS if issubclass(kind, cls))


def _with_contact(error: errors.HotnodeError) -> str:
    """Return an error's message, and whom to ask where that may help."""
    if settings.CONTACT and isinstance(error, FOR_OPERATORS):
        return f"{error.message} Contact: {settings.CONTACT}"
    return error.message


def _envelope(
    status: int, *, kind: str, message: str, code: str, param: str | None = None
) -> HttpResponse:
    """Return an error body as OpenAI's clients read it."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return HttpResponse(msgspec.json.encode(body), status=status, content_type="application/json")


def _anthropic_envelope(status: int, *, message: str, code: str) -> HttpResponse:
    kind = ANTHROPIC_TYPES.get(status, "api_error")
    body = {"type": "error", "error": {"type": kind, "message": message, "code": code}}
    return HttpResponse(msgspec.json.encode(body), status=status, content_type="application/json")


def install(api: NinjaAPI) -> None:
    """Make `api` render our errors and the framework's own refusals in this envelope."""

    @api.exception_handler(errors.HotnodeError)
    def ours(request: HttpRequest, error: errors.HotnodeError) -> HttpResponse:
        note(request, error)
        return error_response(error, request.path)

    @api.exception_handler(RequestAborted)
    def left(request: HttpRequest, error: RequestAborted) -> HttpResponse:
        # The sender left before its body was here: nobody reads this, and nothing has gone wrong.
        return HttpResponse(status=400)

    @api.exception_handler(ValidationError)
    def parameters(request: HttpRequest, error: ValidationError) -> HttpResponse:
        first = error.errors[0]
        param = str(first["loc"][-1])
        problem = errors.InvalidRequest(f"{param}: {first['msg']}", param=param)
        note(request, problem)
        return error_response(problem, request.path)


def note(request: HttpRequest, error: errors.HotnodeError) -> None:
    """Put why a request was refused into its line in the log; messages may quote the caller."""
    if isinstance(fields := getattr(request, "log_fields", None), dict):
        fields |= refusals.log_fields(error)


def _say_how_to_log_in(response: HttpResponse, error: errors.ReauthenticationRequired) -> None:
    """Add what Globus' clients read beside the envelope: a Globus Auth Requirements Error."""
    wanted = {
        "session_message": error.message,
        "session_required_policies": error.policies,
        "session_required_single_domain": error.domains,
        "prompt": "login",
    }
    body = msgspec.json.decode(response.content) | {
        "code": "AuthorizationRequired",
        "authorization_parameters": {name: value for name, value in wanted.items() if value},
    }
    response.content = msgspec.json.encode(body)
    response["WWW-Authenticate"] = 'Bearer error="insufficient_user_authentication"'


def _say_how_it_stands(
    response: HttpResponse, error: errors.ModelLoading | errors.ModelUnavailable
) -> None:
    """Add to the error what is known of the model, for programs."""
    body = msgspec.json.decode(response.content)
    body["error"]["state"] = error.state
    response.content = msgspec.json.encode(body)


def _say_whether_to_retry(response: HttpResponse, error: errors.UpstreamError) -> None:
    """Tell clients, which otherwise repeat every 5xx, whether repeating helps and when."""
    if error.retry_after_s is None:
        response["x-should-retry"] = "false"
    else:
        response["Retry-After"] = str(math.ceil(error.retry_after_s))
        response["x-should-retry"] = "true"


def _say_when_to_retry(response: HttpResponse, error: errors.RateLimited) -> None:
    """Tell how long to wait, to whole seconds and to milliseconds, and what is left of limits."""
    # A client that rounds down, or reads nothing but whole numbers, must not come too early.
    response["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    response["retry-after-ms"] = str(math.ceil(1000 * error.retry_after_s))
    # SDKs that are told to repeat, and find the wait too long, repeat within seconds instead.
    worth_it = error.retry_after_s <= LONGEST_WAIT_OF_CLIENTS_S
    response["x-should-retry"] = "true" if worth_it else "false"
    for name, value in rate_limit_headers(error.standings).items():
        response[name] = value
