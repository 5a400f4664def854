"""What a failed call to Globus can have done, which decides if it may be made again."""

from __future__ import annotations

from typing import Any

import globus_sdk
import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from resource_server.adapters.globus_compute.failures import CallFailed, Fate


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (globus_sdk.GlobusConnectionTimeoutError("", requests.ConnectTimeout()), Fate.NOT_SENT),
        (globus_sdk.GlobusTimeoutError("", requests.ReadTimeout()), Fate.UNKNOWN),
        (globus_sdk.GlobusConnectionError("", requests.ConnectionError()), Fate.UNKNOWN),
        (
            globus_sdk.GlobusConnectionError("", requests.ConnectionError(ProtocolError("reset"))),
            Fate.UNKNOWN,
        ),
        (globus_sdk.NetworkError("", requests.exceptions.ChunkedEncodingError()), Fate.UNKNOWN),
        (globus_sdk.GlobusSDKUsageError("no"), Fate.UNKNOWN),
    ],
)
def test_an_error_without_a_reply(error: globus_sdk.GlobusError, fate: Fate) -> None:
    assert CallFailed.translated(error).fate is fate


def test_a_refused_connection_never_left() -> None:
    nothing: Any = None
    reason = NewConnectionError(nothing, "refused")
    cause = requests.ConnectionError(MaxRetryError(nothing, "/", reason))
    failure = CallFailed.translated(globus_sdk.GlobusConnectionError("", cause))
    assert failure.fate is Fate.NOT_SENT


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (400, Fate.REFUSED),
        (403, Fate.REFUSED),
        (404, Fate.REFUSED),
        (408, Fate.UNKNOWN),
        (413, Fate.REFUSED),
        (422, Fate.REFUSED),
        (429, Fate.THROTTLED),
        (500, Fate.UNKNOWN),
        (502, Fate.UNKNOWN),
        (503, Fate.UNKNOWN),
    ],
)
def test_each_status_has_a_fate(status: int, fate: Fate) -> None:
    assert CallFailed.translated(api_error(status)).fate is fate


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)]
)
def test_the_wished_wait_is_read(header: str, seconds: float | None) -> None:
    assert CallFailed.translated(api_error(429, header)).retry_after_s == seconds


def test_without_a_wish_there_is_none() -> None:
    assert CallFailed.translated(api_error(429)).retry_after_s is None


def api_error(status: int, retry_after: str | None = None) -> globus_sdk.GlobusAPIError:
    """Return what the SDK raises for a reply."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({"Content-Type": "application/json"})
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    response.raw = None
    response._content = b'{"code": "SOME_CODE", "message": "words"}'  # noqa: SLF001 # as the SDK's tests do
    response.request = requests.Request("POST", "http://compute.invalid/").prepare()
    return globus_sdk.GlobusAPIError(response)


def test_the_log_gets_the_service_s_words() -> None:
    assert str(CallFailed.translated(api_error(404))) == "HTTP 404 SOME_CODE words"
