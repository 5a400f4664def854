"""A process that dies at a chosen moment: right before, or right after, one of its acts outside."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Any


class Killed(BaseException):
    """The process is gone: nothing but the very end of a test takes notice."""


class Death:
    """Counts the moments before and after acts; at number `at` the process dies, if ever.

    Acts that go on all the time, as long as a life may last, are `idle`: they do not count.
    """

    def __init__(self, at: int | None = None, *, idle: Collection[str] = ()) -> None:
        self.at = at
        self.moments: list[str] = []
        self._idle = idle

    @property
    def came(self) -> bool:
        """Whether the process died."""
        return self.at is not None and len(self.moments) >= self.at

    def pass_by(self, act: str) -> None:
        """Live through one moment of an act, or die in it; who is dead stays so."""
        if act not in self._idle:
            self.moments.append(act)
        if self.came:
            raise Killed


class Mortal:
    """Does what `target` does, in a process that may die around each act that waits."""

    def __init__(self, target: Any, death: Death) -> None:
        self._target = target
        self._death = death

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._target, name)
        return self._around(name, act) if inspect.iscoroutinefunction(act) else act

    def _around(
        self, name: str, act: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def around(*arguments: Any, **named: Any) -> Any:
            self._death.pass_by(name)
            result = await act(*arguments, **named)
            self._death.pass_by(name)
            return result

        return around
