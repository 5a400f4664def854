"""The one way from asynchronous code to the ORM: a few threads that run functions in turn."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar, TypeVarTuple

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connections,
)

from resource_server.domain import errors

#: Functions that run at once at the most, and so the connections that one process opens.
CONCURRENCY = 8
#: Seconds that one call may take, with its wait for a thread.
TIMEOUT_S = 10.0
#: What the database finds wrong with the question: a mistake of ours that repeating does not mend.
MISTAKES = (ProgrammingError, DataError, IntegrityError, NotSupportedError)

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


async def in_database(
    function: Callable[[*_Arguments], _Result], *args: *_Arguments, timeout_s: float = TIMEOUT_S
) -> _Result:
    """Run a function that uses the ORM in a thread, and return what it returns.

    A slow function delays no request that stays out of the database, and others only once
    `CONCURRENCY` of them run. Connections that are broken or past their age are closed before
    and after. Raises `DatabaseUnavailable` if the database cannot be reached or cannot do what it
    is asked, as one that is read-only while another takes over; and after `timeout_s`: a function
    that runs by then runs on to its end, and keeps its thread until then. `MISTAKES` pass
    unchanged.
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
        late = TimeoutError(f"{name} got no answer of the database in {timeout_s:g} s")
        raise errors.DatabaseUnavailable from late
    except MISTAKES:
        raise
    except (DatabaseError, InterfaceError) as error:
        raise errors.DatabaseUnavailable from error


async def read_database(
    function: Callable[[*_Arguments], _Result], *args: *_Arguments, timeout_s: float = TIMEOUT_S
) -> _Result:
    """Run a function that changes nothing, as `in_database`, and once more if the connection broke.

    A restart of the database breaks connections. Of a write nobody knows whether it came through,
    so that only reads are repeated.
    """
    return await in_database(_twice, function, args, timeout_s=timeout_s)


async def close_database() -> None:
    """Close what the calls so far have opened; the next call opens it again."""
    if _threads.cache_info().currsize:
        threads = _threads()
        _threads.cache_clear()
        await asyncio.to_thread(threads.shutdown, cancel_futures=True)
    await asyncio.to_thread(close_pool)


def _with_fresh_connection(
    function: Callable[[*_Arguments], _Result], args: tuple[*_Arguments]
) -> _Result:
    close_old_connections()
    try:
        return function(*args)
    finally:
        close_old_connections()


def _twice(function: Callable[[*_Arguments], _Result], args: tuple[*_Arguments]) -> _Result:
    try:
        return function(*args)
    except (OperationalError, InterfaceError):
        close_old_connections()
        return function(*args)


def close_pool() -> None:
    """Close the connections that no call uses; the next call opens its own."""
    connection = connections["default"]
    # Django's other backends keep no pool.
    if close := getattr(connection, "close_pool", None):
        close()


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads, kept until `close_database`: each has a connection of its own."""
    return ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="database")
