"""The site's directory as the agent uses it: one thing after the other, each within a time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from compute_functions.errors import DiskFailed

_T = TypeVar("_T")

#: A shared disk that takes longer is away for now (seconds).
WITHIN_S = 10.0


class Disk:
    """Reads and writes in a thread of its own, so that a disk that hangs holds up nothing else.

    What hangs keeps the thread. What comes after it is given up in time, and never begun. The
    thread is not an executor's: the process's end would wait for that.
    """

    def __init__(self, *, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False

    async def do(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns; raises `DiskFailed`, and whatever else `work` does."""
        future: Future[_T] = Future()
        self._work.put(lambda: _fulfil(future, work))
        limit = asyncio.timeout(self._within_s)
        try:
            async with limit:
                # Given up, it cancels the future, which then is not begun.
                return await asyncio.wrap_future(future)
        except OSError as error:  # `TimeoutError` is one.
            if limit.expired():
                problem = f"it did not answer in {self._within_s:g} s"
            else:
                problem = _problem(error)
            raise DiskFailed(f"the site's directory: {problem}") from error

    def close(self) -> None:
        """Begin nothing more; what hangs is not waited for."""
        self._is_closed = True
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None and not self._is_closed:
            work()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="site-directory", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _fulfil(future: Future[_T], work: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 # whoever awaits the future gets it, whatever it is
        future.set_exception(error)


def _problem(error: OSError) -> str:
    """Return what went wrong, for the gateway too: it need not know the site's paths."""
    said = error.strerror or type(error).__name__
    return f"{said} ({Path(str(error.filename)).name})" if error.filename else said
