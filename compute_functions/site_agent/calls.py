"""Calls functions for hubs, each in a thread: the site's disk may hang, and the agent must not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress

from compute_functions.contract import FailureCode, SiteFailure, site_link
from compute_functions.contract.site_calls import ANSWER_S, MOST_CALLS, CallAnswer, SiteCall
from compute_functions.contract.site_link import MessageKind
from compute_functions.site_agent.functions import Function

log = logging.getLogger("hotnode.site_agent")

#: So many run at once for all hubs. Those of a link that was lost may still run when the hub, which
#: knows nothing of them any more, calls as many again.
MOST_THREADS = 2 * MOST_CALLS


class Calls:
    """Gives each call an answer in time; a function that hangs keeps its thread until it ends.

    Threads of their own, not those of an executor: the process's end would wait for these.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        *,
        most: int = MOST_THREADS,
        within_s: float = ANSWER_S,
    ) -> None:
        self._functions = functions
        self._most = most
        self._within_s = within_s
        self._running = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Which functions there are."""
        return tuple(sorted(self._functions))

    async def answer(self, call: SiteCall) -> str:
        """Return the text of the message that answers a call, whatever comes of it."""
        function = self._functions.get(call.function)
        if function is None:
            return _failed(call, FailureCode.PATH_NOT_ALLOWED, "there is no such function")
        if self._running >= self._most:
            return _failed(call, FailureCode.BUSY, "too many calls are under way")
        try:
            begun = self._begun(function, call)
        except RuntimeError:
            log.exception("call_not_begun function=%s running=%d", call.function, self._running)
            return _failed(call, FailureCode.BUSY, "the host has no room for another thread")
        try:
            async with asyncio.timeout(self._within_s):
                text = await begun
        except TimeoutError:
            log.warning("call_hangs function=%s running=%d", call.function, self._running)
            problem = f"it did not end in {self._within_s:g} s; the site's disk may be slow"
            return _failed(call, FailureCode.SITE_FAILED, problem)
        if text is None:
            return _failed(call, FailureCode.SITE_FAILED, "it failed, as the agent's log says")
        return text

    def _begun(self, function: Function, call: SiteCall) -> asyncio.Future[str | None]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[str | None] = loop.create_future()

        def end(text: str | None) -> None:
            self._running -= 1
            if not result.done():
                result.set_result(text)

        def run() -> None:
            text = None
            try:
                # Written down here as well: thousands of values take their time.
                text = _within_bounds(call, function(call.wire))
            finally:
                # What the function raises is a fault of ours, and ends up in the log as it is.
                with suppress(RuntimeError):  # The agent has ended meanwhile.
                    loop.call_soon_threadsafe(end, text)

        threading.Thread(target=run, name=f"call {call.function}", daemon=True).start()
        # Only now: one that was not begun would be counted for ever. None ends before the count.
        self._running += 1
        return result


def _within_bounds(call: SiteCall, wire: dict[str, object]) -> str:
    text = _message(call, wire)
    if len(text) <= site_link.MOST_MESSAGE:  # It is ASCII: a character is a byte.
        return text
    problem = f"the answer is longer than {site_link.MOST_MESSAGE} bytes"
    return _failed(call, FailureCode.RESPONSE_TOO_LARGE, problem)


def _failed(call: SiteCall, code: FailureCode, problem: str) -> str:
    return _message(call, SiteFailure(code=code, message=problem).to_wire())


def _message(call: SiteCall, wire: dict[str, object]) -> str:
    return site_link.message(MessageKind.ANSWER, CallAnswer(id=call.id, wire=wire))
