"""A thread for the disk: whatever a shared file system does, the event loop goes on.

A file system of a cluster can refuse (full, gone, no permission) or hang. Both become `DiskFailed`
here. The thread is a daemon, because one that hangs in a system call can be neither ended nor
awaited, and the process must be able to leave.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self, TypeVar

from batch import errors

#: A disk that does not answer for so long counts as gone (seconds).
PATIENCE_S = 60.0

_T = TypeVar("_T")


class DiskThread:
    """One thread that does what it is given, in that order. An async context manager."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    async def __aenter__(self) -> Self:
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._work.put(None)

    async def do(self, work: Callable[[], _T], *, within_s: float = PATIENCE_S) -> _T:
        """Return what `work` returns, or raise what it raises; an `OSError` as `DiskFailed`.

        Whoever is cancelled meanwhile leaves the work to its end.
        """
        future: Future[_T] = Future()
        self._work.put(lambda: _fulfil(future, work))
        awaited = asyncio.wrap_future(future)
        # Its error is nobody's once nobody waits for it.
        awaited.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            done, _ = await asyncio.wait({awaited}, timeout=within_s)
            if not done:
                raise errors.DiskFailed(f"no answer within {within_s:g} s")
            return done.pop().result()
        except OSError as error:
            raise errors.DiskFailed(str(error)) from error

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _fulfil(future: Future[_T], work: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it, whatever it is
        future.set_exception(error)
