"""The event loops of tests, as a plugin: who leaves a connection open fails, and nobody after him.

Otherwise the collector finds it, in whichever test it happens to run.
"""

from __future__ import annotations

import asyncio
import warnings

import pytest
from typing_extensions import override

#: A connection whose other end was just closed ends within one turn of the loop; a busy machine is
#: given more.
PATIENCE_S = 5.0


class LoopThatIsLeftEmpty(asyncio.SelectorEventLoop):
    """Closes when every connection of it has ended; warns of those that nobody ends."""

    patience_s = PATIENCE_S

    @override
    def close(self) -> None:
        left: list[str] = []
        if not self.is_closed() and self._open():
            left = self.run_until_complete(self._end())
        super().close()
        if left:
            warnings.warn(f"left open: {'; '.join(left)}", ResourceWarning, stacklevel=2)

    def _open(self) -> list[asyncio.Transport]:
        # Nothing public knows them: a server tells of its own from Python 3.13 on, a client never.
        transports = list(self._transports.values())  # type: ignore[attr-defined]
        return [each for each in transports if each.get_extra_info("socket").fileno() >= 0]

    async def _end(self) -> list[str]:
        try:
            async with asyncio.timeout(self.patience_s):
                while self._open():  # noqa: ASYNC110 # no loop tells when they are lost
                    await asyncio.sleep(0.002)
        except TimeoutError:
            left = self._open()
            named = [_named(transport) for transport in left]
            for transport in left:
                transport.abort()
            await asyncio.sleep(0.01)
            return named
        return []


def _named(transport: asyncio.Transport) -> str:
    protocol = type(transport.get_protocol())
    return f"{transport.get_extra_info('socket')} of {protocol.__module__}.{protocol.__qualname__}"


class _Policy(asyncio.DefaultEventLoopPolicy):
    @override
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return LoopThatIsLeftEmpty()


def pytest_configure(config: pytest.Config) -> None:
    """Have all tests' loops be of this kind."""
    asyncio.set_event_loop_policy(_Policy())
