"""What became of a call to Globus that failed: whether it can have had an effect.

A request must not run twice at a cluster, so everything turns on that one question. The SDK's
exceptions end here.
"""

from __future__ import annotations

from enum import StrEnum

import globus_sdk
import requests
import urllib3


class Fate(StrEnum):
    """What became of the call."""

    #: Nothing reached the service. The same call may be made again.
    NOT_SENT = "not_sent"
    #: The service asked for patience (429). The same call may be made again later.
    THROTTLED = "throttled"
    #: The service understood and said no. The same call would fail again.
    REFUSED = "refused"
    #: Nobody knows whether it took effect.
    UNKNOWN = "unknown"


class CallFailed(Exception):
    """A call to Globus failed; the text is for operators, never for callers."""

    def __init__(
        self,
        message: str,
        *,
        fate: Fate,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fate = fate
        self.status = status
        self.retry_after_s = retry_after_s

    @classmethod
    def translated(cls, error: globus_sdk.GlobusError) -> CallFailed:
        """Say what an error of the SDK means."""
        if isinstance(error, globus_sdk.GlobusAPIError):
            text = f"HTTP {error.http_status} {error.code or ''} {error.message or ''}"
            return cls(
                text.strip()[:LOGGED_TEXT],
                fate=_fate_of_status(error.http_status),
                status=error.http_status,
                retry_after_s=_retry_after(error),
            )
        fate = Fate.NOT_SENT if _never_left(error) else Fate.UNKNOWN
        return cls(f"{type(error).__name__}: {error}", fate=fate)


#: So much of an error's own words goes into the log (characters).
LOGGED_TEXT = 500
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
#: The service gave up waiting for the request's body; some proxies say so late.
_REQUEST_TIMEOUT = 408


def _fate_of_status(status: int) -> Fate:
    if status == _TOO_MANY_REQUESTS:
        return Fate.THROTTLED
    if status >= _SERVER_ERRORS or status == _REQUEST_TIMEOUT:
        return Fate.UNKNOWN
    return Fate.REFUSED


def _retry_after(error: globus_sdk.GlobusAPIError) -> float | None:
    """Return the header in seconds; its other form, a date, is left to the caller's own pace."""
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _never_left(error: globus_sdk.GlobusError) -> bool:
    """Tell whether the call failed before its first byte was sent."""
    if isinstance(error, globus_sdk.GlobusConnectionTimeoutError):
        return True
    cause = getattr(error, "underlying_exception", None)
    if not isinstance(cause, requests.ConnectionError) or not cause.args:
        return False
    reason = getattr(cause.args[0], "reason", None)
    if isinstance(reason, urllib3.exceptions.ProxyError):
        reason = reason.original_error
    # Refused connections and names that do not resolve; a connection that broke is neither.
    return isinstance(reason, urllib3.exceptions.NewConnectionError)
