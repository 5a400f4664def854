"""Whether an instance lives whose site says that it has failed: one that is silent does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.contract.frames import RESUME_WITHIN_S

#: Why a link ends then.
FAILED = "its site says that the instance has failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a link is waited for (seconds): once cut, and while silent and in doubt."""

    resume_s: float = RESUME_WITHIN_S
    doubted_s: float = 3.0


class Doubts:
    """Calls `over` after a while in which nothing was heard of the instance.

    A node that is gone closes no connection, and the hub would notice that late. But a site may
    also take an instance for failed whose files it cannot read, and which goes on answering.
    """

    def __init__(self, over: Callable[[], None], *, silent_s: float) -> None:
        self._over = over
        self._silent_s = silent_s
        self._timer: asyncio.TimerHandle | None = None
        #: Set with everything that the instance says.
        self.heard = False

    @property
    def any(self) -> bool:
        """Whether it is in doubt."""
        return self._timer is not None

    def begin(self) -> bool:
        """Doubt it from now on; tell whether that is news."""
        if self.any:
            return False
        self._wait()
        return True

    def end(self) -> bool:
        """Doubt it no more; tell whether that is news."""
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        return True

    def _wait(self) -> None:
        self.heard = False
        self._timer = asyncio.get_running_loop().call_later(self._silent_s, self._look)

    def _look(self) -> None:
        if self.heard:
            self._wait()
            return
        self._timer = None
        self._over()
