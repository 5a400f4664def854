"""The calls that a hub makes on one link of a site's agent, each with an answer of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import aiohttp
import structlog

from compute_functions.contract import JsonObject, site_link
from compute_functions.contract.site_calls import CALL_S, MOST_CALLS, CallAnswer, SiteCall
from compute_functions.contract.site_link import MessageKind
from resource_server.domain import errors

log = structlog.get_logger()

Send = Callable[[str], Awaitable[None]]


class LinkCalls:
    """Calls functions through `send`, at most `MOST_CALLS` at a time, until `end`."""

    def __init__(self, cluster: str, send: Send, *, within_s: float = CALL_S) -> None:
        #: What the agent has offered; nothing if it is too old to know of calls.
        self.functions: frozenset[str] = frozenset()
        self._cluster = cluster
        self._send = send
        self._within_s = within_s
        self._places = asyncio.Semaphore(MOST_CALLS)
        # Of long calls one at a time goes out: what is desired waits for no more.
        self._turn = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[JsonObject]] = {}
        self._ended = False

    async def call(self, function: str, wire: JsonObject) -> JsonObject:
        """Return what a function gave.

        Raises `BackendInterrupted` if the link is lost, and `BackendTimeout`. Whoever leaves is
        forgotten; the function goes on.
        """
        call = SiteCall(id=uuid.uuid4().hex, function=function, wire=wire)
        try:
            async with asyncio.timeout(self._within_s), self._places:
                return await self._exchange(call)
        except TimeoutError as error:
            log.warning("site_call_late", cluster=self._cluster, function=function)
            raise errors.BackendTimeout(
                f"The site of '{self._cluster}' did not answer in {self._within_s:g} s."
            ) from error

    def answer(self, answer: CallAnswer) -> None:
        """Give an answer to whoever waits for it; what is too late is nobody's."""
        waiting = self._waiting.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.wire)

    def end(self) -> None:
        """Tell everybody who waits that the link is gone."""
        self._ended = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._lost())

    async def _exchange(self, call: SiteCall) -> JsonObject:
        if self._ended:
            raise self._lost()
        text = site_link.message(MessageKind.CALL, call)
        if len(text) > site_link.MOST_MESSAGE:
            raise errors.BackendUnavailable(
                f"A call of {len(text)} bytes is longer than a site's link carries."
            )
        waiting: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = waiting
        try:
            async with self._turn:
                await self._send(text)
            return await waiting
        except (ConnectionError, aiohttp.ClientError) as error:
            raise self._lost() from error
        finally:
            del self._waiting[call.id]
            # The link may have been lost while the call was being sent, of which the sender told.
            if not waiting.cancel() and not waiting.cancelled():
                waiting.exception()

    def _lost(self) -> errors.BackendInterrupted:
        return errors.BackendInterrupted(
            f"The link of the site of '{self._cluster}' was lost. The call may be made again."
        )
