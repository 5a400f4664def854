"""The one way from asynchronous code to the ORM: a few threads that run functions in turn."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar, TypeVarTuple

from django.db import close_old_connections

#: Functions that run at once at the most, and so the connections that one process opens.
CONCURRENCY = 8
#: Seconds that one call may take, with its wait for a thread.
TIMEOUT_S = 10.0

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


async def in_database(
    function: Callable[[*_Arguments], _Result], *args: *_Arguments, timeout_s: float = TIMEOUT_S
) -> _Result:
    """Run a function that uses the ORM in a thread, and return what it returns.

    A slow function delays no request that stays out of the database, and others only once
    `CONCURRENCY` of them run. Connections that are broken or past their age are closed before
    and after. Raises `TimeoutError` after `timeout_s`; a function that runs by then runs on to
    its end, and keeps its thread until then.
    """
    call = asyncio.get_running_loop().run_in_executor(
        _threads(), contextvars.copy_context().run, _with_fresh_connection, function, args
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except TimeoutError:
        if not call.cancelled():
            raise
        name = getattr(function, "__qualname__", repr(function))
        raise TimeoutError(f"{name} got no answer of the database in {timeout_s:g} s") from None


def _with_fresh_connection(
    function: Callable[[*_Arguments], _Result], args: tuple[*_Arguments]
) -> _Result:
    close_old_connections()
    try:
        return function(*args)
    finally:
        close_old_connections()


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads, kept for the life of the process: each has a connection of its own."""
    return ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="database")
