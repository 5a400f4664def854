"""Rounds of the controller's loops, which wait for a database that is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from resource_server.domain import errors
from resource_server.services.supervision import forever

log = logging.getLogger(__name__)

#: So long a pause while the database is away (seconds).
DATABASE_PAUSE_S = 2.0


async def rounds(name: str, round_: Callable[[], Awaitable[None]]) -> None:
    """Do one round after the other until the tenure ends; then raise `LeaseLost`."""

    async def patient() -> None:
        try:
            await round_()
        except errors.DatabaseUnavailable as error:
            log.warning("duty_not_done", extra={"duty": name, "reason": str(error.__cause__)})
            await asyncio.sleep(DATABASE_PAUSE_S)

    await forever(name, patient, unless=errors.LeaseLost)


async def rung(bell: asyncio.Event, *, within_s: float) -> None:
    """Wait until somebody rings, but not longer: then it is time all the same."""
    try:
        async with asyncio.timeout(within_s):
            await bell.wait()
    except TimeoutError:
        return


@contextmanager
def one_error() -> Iterator[None]:
    """Raise what ended a group of tasks as itself; that the lease is lost before all else."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _leading(group) from group


def _leading(group: BaseExceptionGroup[BaseException]) -> BaseException:
    lost = group.subgroup(errors.LeaseLost)
    found: BaseException = lost or group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
