from __future__ import annotations

import asyncio
import threading

import pytest
import structlog
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from resource_server.domain import errors
from resource_server.store.database import CONCURRENCY, in_database


async def test_slow_queries_delay_no_request_that_needs_no_database(front, views):
    slow = [asyncio.create_task(front.client.get("slow-query")) for _ in range(3 * CONCURRENCY)]
    for _ in slow:
        await views.expect("querying")
    async with front.client.get("plain") as response:
        assert await response.text() == "plain"
    assert not any(task.done() for task in slow)
    views.blocked.set()
    for response in await asyncio.gather(*slow):
        assert await response.text() == "True"


async def test_a_slow_query_delays_no_other_query(front, views):
    slow = asyncio.create_task(front.client.get("slow-query"))
    await views.expect("querying")
    async with front.client.get("query") as response:
        assert await response.text() == "3"
    assert not slow.done()
    views.blocked.set()
    assert await (await slow).text() == "True"


async def test_a_query_that_takes_too_long_is_an_error(views):
    with pytest.raises(errors.DatabaseUnavailable) as caught:
        await in_database(views.blocked.wait, 10, timeout_s=0.05)
    assert "Event.wait got no answer of the database in 0.05 s" in str(caught.value.__cause__)


async def test_a_timeout_of_the_function_itself_is_not_ours():
    def late() -> None:
        raise TimeoutError("a lock")

    with pytest.raises(TimeoutError, match="a lock"):
        await in_database(late)


async def test_no_more_than_so_many_run_at_once(views):
    threads: set[int] = set()
    loop = asyncio.get_running_loop()

    def note() -> None:
        threads.add(threading.get_ident())
        loop.call_soon_threadsafe(views.events.put_nowait, "running")
        views.blocked.wait(10)

    calls = [asyncio.create_task(in_database(note)) for _ in range(2 * CONCURRENCY)]
    for _ in range(CONCURRENCY):
        await views.expect("running")
    views.blocked.set()
    await asyncio.gather(*calls)
    assert len(threads) == CONCURRENCY


async def test_a_connection_past_its_age_is_closed_after_the_call(django_db_blocker):
    def ask() -> BaseDatabaseWrapper:
        with connections["default"].cursor() as cursor:
            cursor.execute("select 1")
        assert connections["default"].connection is not None
        return connections["default"]

    with django_db_blocker.unblock():
        assert (await in_database(ask)).connection is None


async def test_a_synchronous_view_leaves_no_connection_behind(front, views, django_db_blocker):
    with django_db_blocker.unblock():
        async with front.client.get("sync-query") as response:
            assert await response.text() == "7"
    assert views.seen["connection"].connection is None


async def test_what_is_bound_to_the_log_is_bound_in_the_thread_too():
    structlog.contextvars.bind_contextvars(request_id="ours")
    assert (await in_database(structlog.contextvars.get_contextvars))["request_id"] == "ours"


async def test_a_connection_that_aged_between_two_calls_is_closed_before_the_second(
    django_db_blocker,
):
    every_thread = threading.Barrier(CONCURRENCY)

    def keep_open() -> BaseDatabaseWrapper:
        every_thread.wait(10)
        connections["default"].ensure_connection()
        connections["default"].close_at = None
        return connections["default"]

    def is_open() -> bool:
        every_thread.wait(10)
        return connections["default"].connection is not None

    with django_db_blocker.unblock():
        kept = await asyncio.gather(*(in_database(keep_open) for _ in range(CONCURRENCY)))
        assert all(one.connection is not None for one in kept)
        for one in kept:
            one.close_at = 0.0
        assert not any(await asyncio.gather(*(in_database(is_open) for _ in range(CONCURRENCY))))
