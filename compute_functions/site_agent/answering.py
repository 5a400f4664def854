"""The calls of one connection of a site link: each is begun at once, and answered when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from compute_functions.contract.site_calls import SiteCall
from compute_functions.errors import LinkFailed
from compute_functions.site_agent.calls import Calls

log = logging.getLogger("hotnode.site_agent")


class Answering:
    """Sends a connection's answers through `send`, which raises `LinkFailed` when it cannot."""

    def __init__(self, calls: Calls, send: Callable[[str], Awaitable[None]]) -> None:
        self._calls = calls
        self._send = send
        # Of long answers one at a time goes out: what the agent observes waits for no more.
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, call: SiteCall) -> None:
        """Have a call answered."""
        task = asyncio.create_task(self._answer(call), name=f"call {call.function}")
        self._under_way.add(task)
        task.add_done_callback(self._end)

    async def close(self) -> None:
        """Answer nothing more; functions that run go on to their end, and nobody hears of it."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _answer(self, call: SiteCall) -> None:
        text = await self._calls.answer(call)
        try:
            async with self._turn:
                await self._send(text)
        except LinkFailed as error:
            # Whoever hears and tells on the connection notices it too. The hub calls again.
            log.info("answer_lost function=%s error=%s", call.function, error)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("call_failed", exc_info=fault)
