"""The site's directory as the agent uses it: one thing after the other, each within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from compute_functions.errors import DiskFailed

_T = TypeVar("_T")

#: A shared disk that takes longer is away for now (seconds).
WITHIN_S = 10.0


class Disk:
    """Reads and writes in a thread of its own, so that a disk that hangs holds up nothing else.

    What hangs keeps the thread. What comes after it is given up in time, and never begun.
    """

    def __init__(self, *, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="site-directory")

    async def do(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns; raises `DiskFailed`, and whatever else `work` does."""
        future = self._thread.submit(work)
        limit = asyncio.timeout(self._within_s)
        try:
            async with limit:
                return await asyncio.wrap_future(future)
        except OSError as error:  # `TimeoutError` is one.
            if limit.expired():
                problem = f"it did not answer in {self._within_s:g} s"
            else:
                problem = _problem(error)
            raise DiskFailed(f"the site's directory: {problem}") from error

    def close(self) -> None:
        """Begin nothing more; what hangs is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _problem(error: OSError) -> str:
    """Return what went wrong, for the gateway too: it need not know the site's paths."""
    said = error.strerror or type(error).__name__
    return f"{said} ({Path(str(error.filename)).name})" if error.filename else said
