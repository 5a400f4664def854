"""Errors that belong to HTTP alone: what the front door refuses before or instead of a route."""

from __future__ import annotations

from resource_server.domain import errors


class BodyStalled(errors.CallerError):
    """The request's body stopped arriving. Send the request again."""

    code = "request_timeout"


class BodyTooSlow(BodyStalled):
    """The request's body took too long to arrive. Send less, or over a faster connection."""


class TooManyBodies(errors.UpstreamError):
    """The service is receiving as much as it can hold. Send the request again in a few seconds."""

    code = "service_busy"
    retry_after_s = 5.0


class ServerStopping(errors.UpstreamError):
    """The service stopped before this request was answered. It may have reached the model."""

    code = "server_stopping"


class ForeignHost(errors.InvalidRequest):
    """The header Host names a host that this service does not answer for."""


class MethodNotAllowed(errors.CallerError):
    """This URL does not take this method; the header `Allow` names those it takes."""

    code = "method_not_allowed"


class RangeNotSatisfiable(errors.CallerError):
    """The file has no such bytes; the header `Content-Range` says how many it has."""

    code = "range_not_satisfiable"


class InternalError(errors.HotnodeError):
    """The service failed on this request. Its operators find the reason by the request id."""

    code = "internal_error"


def log_fields(error: errors.HotnodeError) -> dict[str, str]:
    """Return what a request's line in the log says of an error; never its text."""
    fields = {"error_code": error.code}
    if isinstance(error, errors.RateLimited):
        fields["limit"] = error.measure.value
    if error.task_id is not None:
        fields["globus_task_id"] = error.task_id
    if error.place is not None:
        fields["cluster"], fields["framework"] = error.place
    return fields


_BY_STATUS: dict[int, type[errors.HotnodeError]] = {
    403: errors.Forbidden,
    404: errors.NotFound,
    405: MethodNotAllowed,
    408: BodyStalled,
}
_FIRST_SERVER_ERROR = 500
#: The page that documents the API.
DOCS = "/docs"


def for_status(status: int, *, method: str, path: str) -> errors.HotnodeError:
    """Return the error to show for a bare status that Django or django-ninja answered with."""
    if status >= _FIRST_SERVER_ERROR:
        return InternalError()
    kind = _BY_STATUS.get(status, errors.InvalidRequest)
    return no_such_url(method, path) if kind is errors.NotFound else kind()


def no_such_url(method: str | None, path: str) -> errors.NotFound:
    """Return the error for a URL that leads nowhere."""
    return errors.NotFound(f"There is no such URL: {method} {path}. {DOCS} lists those there are.")
