"""Pushes an engine's answer to the hub that asked for it, in one POST."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

import aiohttp
from yarl import URL

from compute_functions import carriage, loopback_port
from compute_functions.contract.pushes import CONTENT_TYPE, STREAMS_PATH, Push
from compute_functions.errors import CallerLeft, ConfigurationError, HubUnreachable
from compute_functions.pushed_call import PushedCall
from compute_functions.relay import authorities
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.proxies import proxy_for

#: For the hub to say that it wants the answer (seconds): a connection, TLS and one answer.
OPEN_WITHIN_S = 15.0
#: For the hub to say that it has the end (seconds).
CLOSE_WITHIN_S = 30.0
_UNWANTED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.GONE})
_STREAM_PATH = re.compile(rf".*{STREAMS_PATH}/[A-Za-z0-9_-]+")
_SCHEMES = {"wss": "https", "ws": "http"}


def require_allowed(push: Push, enrolment: Enrolment | None) -> None:
    """Raise `ConfigurationError` for a hub that this site does not push to.

    A site that has enrolled pushes to its gateway's hubs alone. Any other pushes to whatever is
    encrypted, since only its gateway's Globus client can send it requests.
    """
    url = _url(push)
    if enrolment is not None:
        if url.origin() not in {_origin(hub) for hub in enrolment.hubs}:
            raise ConfigurationError(f"this site has not enrolled with {url.origin()}")
    elif url.scheme != "https" and url.host not in {loopback_port.HOST, "localhost", "::1"}:
        raise ConfigurationError(f"{url.origin()} is not encrypted")


async def push_answer(
    push: Push, call: PushedCall, ca_file: str, *, taken_within_s: float = carriage.MAX_TIMEOUT_S
) -> None:
    """Have the engine called and its answer pushed to the end, or raise a `PushFailed`.

    The engine is not called unless the hub wants the answer, and is hung up when it wants no more
    of it, or takes no part of it for `taken_within_s`. What the engine does wrong is pushed, too.
    """
    try:
        async with asyncio.timeout(OPEN_WITHIN_S) as patience:
            await _post(push, _timed(call, patience, taken_within_s), call, ca_file)
    except TimeoutError as error:
        raise _failed(call, "the hub did not answer in time") from error
    except aiohttp.ClientHttpProxyError as error:
        # Its own words hold the proxy's address, and the password in it.
        raise _failed(call, f"the site's proxy answers {error.status}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _failed(call, f"the hub: {error}") from error


async def _post(
    push: Push, timed: AsyncGenerator[bytes, None], call: PushedCall, ca_file: str
) -> None:
    url = _url(push)
    is_encrypted = url.scheme == "https"
    context = await asyncio.to_thread(authorities.trusted, ca_file) if is_encrypted else True
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aclosing(timed) as frames,
        aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(
            url,
            data=frames,
            headers={"authorization": f"Bearer {push.secret}", "content-type": CONTENT_TYPE},
            # The hub looks at the secret before anything is sent, and before the engine is asked.
            expect100=True,
            proxy=proxy_for(url),
            ssl=context,
            allow_redirects=False,
        ) as response,
    ):
        if response.status in _UNWANTED:
            raise CallerLeft(f"the hub answers {response.status}")
        if response.status != HTTPStatus.NO_CONTENT or not call.over:
            raise _failed(call, f"the hub answers {response.status}")


async def _timed(
    call: PushedCall, patience: asyncio.Timeout, taken_within_s: float
) -> AsyncGenerator[bytes, None]:
    """Yield the frames; the hub is given time to take each, and for its word at the end."""
    clock = asyncio.get_running_loop().time
    patience.reschedule(None)
    async with aclosing(call.frames()) as frames:
        async for frame in frames:
            patience.reschedule(clock() + taken_within_s)
            yield frame
            patience.reschedule(None)
    patience.reschedule(clock() + CLOSE_WITHIN_S)


def _failed(call: PushedCall, reason: str) -> HubUnreachable | CallerLeft:
    return CallerLeft(reason) if call.called else HubUnreachable(reason)


def _url(push: Push) -> URL:
    try:
        url = URL(push.url)
        url.origin()
    except ValueError as error:
        raise ConfigurationError("the hub's address is none") from error
    # A site must not be a way to whatever else listens near it.
    is_stream = _STREAM_PATH.fullmatch(url.raw_path) and not url.query_string
    if url.scheme not in {"http", "https"} or url.user or not url.host or not is_stream:
        raise ConfigurationError("the hub's address is none")
    return url


def _origin(hub: str) -> URL:
    url = URL(hub)
    return url.with_scheme(_SCHEMES.get(url.scheme, url.scheme)).origin()
