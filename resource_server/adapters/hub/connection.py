"""A web process's connections to the hub of its host, and what it means when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import structlog

from resource_server.adapters.hub import messages, wire
from resource_server.adapters.hub.failures import error_of, may_have_run, no_answer, surely_not_run
from resource_server.adapters.hub.messages import (
    Call,
    Cancellation,
    FunctionCall,
    Outcome,
    Question,
)
from resource_server.adapters.hub.stream import HubStream
from resource_server.adapters.hub.stream_under_way import ALIVE_EVERY_S
from resource_server.domain import errors

log = structlog.get_logger()

#: A hub that restarts is back after so long (seconds).
BACK_AFTER_S = 5.0
#: The hub answers these itself, without asking anybody (seconds).
PROMPT_S = 3.0
#: A hub that answers no ping for so long is gone (seconds).
PING_S = 10.0
#: Connections that wait for the next request are closed after so long (seconds).
_IDLE_S = 60.0
_READ_AHEAD = 1024 * 1024
#: Of a stream little is read ahead: what its client does not read should wait at its engine.
_STREAM_READ_AHEAD = 64 * 1024


class HubConnection:
    """Connections to the hub at a Unix socket, open inside an `async with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            "http://hub",
            # Each call under way has a connection; how many there are, limits decide.
            connector=aiohttp.UnixConnector(str(self._path), limit=0, keepalive_timeout=_IDLE_S),
            headers={messages.VERSION_HEADER: messages.VERSION},
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def available(self) -> bool:
        """Tell whether the hub answers, and is of our version."""
        try:
            return await self._status(messages.AVAILABLE) == HTTPStatus.NO_CONTENT
        except errors.UpstreamError:
            return False

    async def cancel(self, call_id: str) -> bool:
        """Take a call back if it has not left; tell whether the hub knows it."""
        status = await self._status(messages.CANCEL, Cancellation(id=call_id))
        return status == HTTPStatus.NO_CONTENT

    async def ask(
        self, path: str, value: Call | Question | FunctionCall, *, within_s: float
    ) -> Outcome:
        """Return what came of a call or a question; raises what the hub raised."""
        _, outcome = await self._exchange(path, value, within_s=within_s)
        if outcome is None:
            raise no_answer()
        if outcome.failure is not None:
            raise error_of(outcome.failure)
        return outcome

    async def open_stream(self, call: Call, *, within_s: float) -> HubStream:
        """Return a streamed answer when its head is there; raises what the hub raised."""
        with self._in_our_words():
            async with asyncio.timeout(within_s):
                with ExitStack() as stack:
                    response = await self._post_stream(call)
                    stack.callback(response.close)
                    _refuse_another_version(response)
                    stream = await HubStream.opened(response)
                    stack.pop_all()
                    return stream

    async def watch(self) -> aiohttp.ClientWebSocketResponse:
        """Return a connection on which the hub says what it knows of sites, and hears who waits.

        Raises what the client library does: nobody's request is about it.
        """
        async with asyncio.timeout(PROMPT_S):
            return await self._opened_session().ws_connect(
                messages.WATCH, max_msg_size=0, heartbeat=PING_S
            )

    async def _post_stream(self, call: Call) -> aiohttp.ClientResponse:
        parts = messages.encode(call)
        return await self._opened_session().post(
            messages.STREAM,
            data=wire.content(*parts),
            headers=wire.headers(*parts),
            timeout=aiohttp.ClientTimeout(sock_connect=PROMPT_S, sock_read=3 * ALIVE_EVERY_S),
            read_bufsize=_STREAM_READ_AHEAD,
        )

    async def _status(self, path: str, value: Cancellation | None = None) -> int:
        status, _ = await self._exchange(path, value, within_s=PROMPT_S)
        return status

    async def _exchange(
        self, path: str, value: messages.Value | None, *, within_s: float
    ) -> tuple[int, Outcome | None]:
        """Return the status, and what it says if it is 200."""
        with self._in_our_words():
            return await self._send(path, value, within_s)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Turn what breaks connections into what it means for a request."""
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            log.warning("hub_away", path=str(self._path), reason=str(error))
            raise surely_not_run(
                "The gateway's hub does not run just now. Try again in a moment.",
                retry_after_s=BACK_AFTER_S,
            ) from error
        except TimeoutError as error:
            raise errors.BackendTimeout("The gateway's hub did not answer in time.") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            log.warning("hub_lost", path=str(self._path), reason=repr(error))
            raise may_have_run(
                "The gateway's hub stopped while the request was under way. It may have run, so "
                "it was not sent again; you may send it again."
            ) from error

    async def _send(
        self, path: str, value: messages.Value | None, within_s: float
    ) -> tuple[int, Outcome | None]:
        timeout = aiohttp.ClientTimeout(total=within_s, sock_connect=PROMPT_S)
        method, data, headers = "GET", None, None
        if value is not None:
            parts = messages.encode(value)
            method, data, headers = "POST", wire.content(*parts), wire.headers(*parts)
        async with self._opened_session().request(
            method, path, data=data, headers=headers, timeout=timeout
        ) as response:
            _refuse_another_version(response)
            if response.status != HTTPStatus.OK:
                return response.status, None
            return response.status, messages.read_outcome(*await wire.read(response))

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the connection to the hub is not open")
        return self._session


def _refuse_another_version(response: aiohttp.ClientResponse) -> None:
    if response.status == HTTPStatus.CONFLICT:
        theirs = response.headers.get(messages.VERSION_HEADER, "none")
        log.error("hub_of_another_version", theirs=theirs, ours=messages.VERSION)
        raise surely_not_run(
            "The gateway is being updated. Try again in a moment.", retry_after_s=BACK_AFTER_S
        )
