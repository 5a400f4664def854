"""Calls to Globus Auth and Groups: few at once, each with a timeout, failures never a caller's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import structlog

from resource_server.domain import errors

log = structlog.get_logger()

#: More calls than this wait for their turn (within their timeout).
AT_ONCE = 100
#: The longest that a throttled caller is told to wait (seconds).
RETRY_AFTER_MAX_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A status below 500 other than 429, and the JSON value that came with it."""

    status: int
    value: object

    @property
    def ok(self) -> bool:
        """Whether Globus did what was asked."""
        return self.status == HTTPStatus.OK

    @property
    def error_code(self) -> str:
        """The error's name in OAuth's terms."""
        code = self.value.get("error") if isinstance(self.value, dict) else None
        return code if isinstance(code, str) else ""


class GlobusHttp:
    """Sends requests to Globus.

    Every failure is `IdentityServiceUnavailable`, but for a turn that did not come in time,
    `IdentityServiceBusy`, and for a 429, `IdentityServiceThrottled`: a Globus that throttles us
    is not down, and whoever makes us ask often enough brings it about.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        # A gateway behind a proxy is told so by its environment, as every other program there.
        self._session = aiohttp.ClientSession(
            trust_env=True, connector=aiohttp.TCPConnector(limit=AT_ONCE)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def post(self, url: str, form: Mapping[str, str], authorization: str) -> Reply:
        """Post a form."""
        headers = {"Authorization": authorization}
        return await self._ask(
            url, lambda: self._session.post(url, data=form, headers=headers, allow_redirects=False)
        )

    async def get(self, url: str, authorization: str = "") -> Reply:
        """Get a resource."""
        headers = {"Authorization": authorization} if authorization else {}
        return await self._ask(
            url, lambda: self._session.get(url, headers=headers, allow_redirects=False)
        )

    async def _ask(
        self, url: str, send: Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]]
    ) -> Reply:
        try:
            await asyncio.wait_for(self._turns.acquire(), self._timeout_s)
        except TimeoutError as error:
            # Our own queue is no outage of Globus, and must not be taken for one.
            raise errors.IdentityServiceBusy from error
        try:
            async with asyncio.timeout(self._timeout_s), send() as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable(url, f"{type(error).__name__}: {error}") from error
        finally:
            self._turns.release()
        retry_after = response.headers.get("Retry-After", "")
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            log.warning("globus_auth_throttles", url=url, retry_after=retry_after)
            raise _later(errors.IdentityServiceThrottled(), retry_after)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _later(_unavailable(url, f"HTTP {response.status}"), retry_after)
        try:
            return Reply(status=response.status, value=json.loads(body))
        except ValueError as error:
            raise _unavailable(url, f"HTTP {response.status} without JSON") from error


def _unavailable(url: str, reason: str) -> errors.IdentityServiceUnavailable:
    log.warning("globus_auth_unavailable", url=url, reason=reason)
    return errors.IdentityServiceUnavailable()


_ErrorT = TypeVar("_ErrorT", bound=errors.UpstreamError)


def _later(error: _ErrorT, retry_after: str) -> _ErrorT:
    """Return the error with the wait that Globus asked for, if that is a number of seconds."""
    if retry_after.isdecimal():
        error.retry_after_s = min(float(retry_after), RETRY_AFTER_MAX_S)
    return error
