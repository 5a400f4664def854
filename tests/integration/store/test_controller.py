"""One controller of several is active, by a lease in the database; each write states its number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from typing_extensions import override

from lab.system.postgresql import Postgresql
from resource_server.adapters.catalog_files import CatalogDocuments
from resource_server.container import open_controller
from resource_server.domain.errors import CatalogInvalid, DatabaseUnavailable, LeaseLost
from resource_server.ports import Duty, Lease, Tenure
from resource_server.services.controller import Controller
from resource_server.store.catalog import replace_yaml_rows
from resource_server.store.database import in_database
from resource_server.store.lease import LeaseTable
from resource_server.store.models import ClusterRow, ControllerLease
from tests.conftest import gateway_settings
from tests.support.eventually import eventually, eventually_so

pytestmark = pytest.mark.usefixtures("any_database")

LONG_S, SHORT_S = 300.0, 0.3
ID = "11111111-1111-4111-8111-11111111111"
SITE = f"""cluster: c
frameworks: {{vllm: {{}}}}
globus_compute:
  client: c
  endpoint_id: {ID}1
  functions: {{run_request: {ID}2, site_status: {ID}3}}
"""
MODEL = "id: m\ndeployments: [{cluster: c, framework: vllm}]\n"


class DutyThatNotes:
    """A duty that notes under which number it was done."""

    name, every_s = "notes", 0.01

    def __init__(self) -> None:
        self.fences: list[int] = []

    async def perform(self, tenure: Tenure) -> None:
        self.fences.append(tenure.fence)


class DutyWithAFault(DutyThatNotes):
    """A duty that fails each time as nobody foresaw."""

    name = "faulty"

    @override
    async def perform(self, tenure: Tenure) -> None:
        await super().perform(tenure)
        raise ZeroDivisionError


class DutyOutsideTheDatabase(DutyThatNotes):
    """A duty that asks before each of its acts whether its tenure goes on."""

    name = "outside"

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[int] = []

    @override
    async def perform(self, tenure: Tenure) -> None:
        try:
            tenure.require()
        except LeaseLost:
            self.refused.append(tenure.fence)
            raise
        await super().perform(tenure)


async def nothing(tenure: Tenure) -> None:
    """Be what a controller does first, where a test needs nothing of the kind."""


async def a_mistake(tenure: Tenure) -> None:
    """Be what cannot be done."""
    raise CatalogInvalid(("models/m.yaml:1: a mistake",))


NO_FILES = CatalogDocuments(sites=(), models=())


def controller(name: str, *duties: Duty, term_s: float = SHORT_S) -> Controller:
    return Controller(LeaseTable(name, term_s=term_s), duties, term_s=term_s)


@asynccontextmanager
async def running(*controllers: Controller) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(one.run()) for one in controllers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def expire() -> None:
    """Let the lease run out, as when its holder has been silent for a term."""
    await in_database(lambda: ControllerLease.objects.update(expires_at="2020-01-01T00:00Z"))


async def test_of_many_at_once_one_gets_the_lease():
    answers = await asyncio.gather(
        *(LeaseTable(f"c{n}", term_s=LONG_S).acquire() for n in range(8))
    )
    assert sorted(answer for answer in answers if answer is not None) == [1]


async def test_a_lease_that_is_renewed_is_nobody_else_s():
    holder, other = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    fence = await holder.acquire()
    assert fence == 1
    await holder.renew(fence)
    assert await other.acquire() is None


async def test_a_silent_holder_loses_it_and_hears_so():
    silent, other = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    old = await silent.acquire()
    assert old is not None
    await expire()
    assert await other.acquire() == old + 1
    with pytest.raises(LeaseLost):
        await silent.renew(old)


async def test_a_holder_that_was_slow_but_not_replaced_goes_on():
    slow = LeaseTable("a", term_s=LONG_S)
    fence = await slow.acquire()
    assert fence is not None
    await expire()
    await slow.renew(fence)
    assert await LeaseTable("b", term_s=LONG_S).acquire() is None


async def test_a_lease_that_is_given_back_is_free_at_once():
    first, second = LeaseTable("a", term_s=LONG_S), LeaseTable("b", term_s=LONG_S)
    fence = await first.acquire()
    assert fence is not None
    await first.release(fence)
    assert await second.acquire() == fence + 1


async def test_who_was_given_up_for_dead_writes_nothing_more():
    old = await LeaseTable("a", term_s=LONG_S).acquire()
    row = ClusterRow(name="c", origin="yaml", spec={})
    await in_database(row.save)
    await expire()
    new = await LeaseTable("b", term_s=LONG_S).acquire()
    assert old is not None
    assert new is not None
    with pytest.raises(LeaseLost):
        await in_database(replace_yaml_rows, NO_FILES, old)
    assert await in_database(ClusterRow.objects.count) == 1
    assert await in_database(replace_yaml_rows, NO_FILES, new)
    assert await in_database(ClusterRow.objects.count) == 0


async def test_a_second_controller_waits_until_the_first_one_stops():
    first, second = DutyThatNotes(), DutyThatNotes()
    one, other = controller("a", first), controller("b", second)
    await one.start(nothing)
    await other.start(nothing)
    assert (one.fence, other.fence) == (1, None)
    async with running(one, other) as (task, _):
        await eventually(lambda: len(first.fences) > 3)
        assert second.fences == []
        task.cancel()
        await eventually(lambda: second.fences)
    assert set(second.fences) == {2}


async def test_a_second_controller_takes_over_from_one_that_is_silent():
    silent, source = LeaseTable("a", term_s=SHORT_S), DutyThatNotes()
    assert await silent.acquire() == 1
    async with running(controller("b", source)):
        await eventually(lambda: source.fences)
    assert set(source.fences) == {2}


async def test_who_lost_the_lease_stops_working_and_waits_for_it():
    source = DutyThatNotes()
    one = controller("a", source)
    await one.start(nothing)
    async with running(one):
        thief = LeaseTable("b", term_s=LONG_S)
        # It may be renewed in between.
        while (stolen := await thief.acquire()) is None:
            await expire()
        await eventually(lambda: one.fence is None)
        await thief.release(stolen)
        await eventually(lambda: source.fences[-1] == stolen + 1)


async def test_who_cannot_do_what_comes_first_lets_go_of_the_lease():
    with pytest.raises(CatalogInvalid):
        await controller("a", term_s=LONG_S).start(a_mistake)
    assert await LeaseTable("b", term_s=LONG_S).acquire() == 2


async def test_who_finds_the_lease_gone_in_what_comes_first_waits_for_it():
    async def too_late(tenure: Tenure) -> None:
        raise LeaseLost

    source = DutyThatNotes()
    one = controller("a", source)
    await one.start(too_late)
    assert one.fence is None
    async with running(one):
        await eventually(lambda: source.fences)


async def test_the_fault_of_one_duty_is_no_other_duty_s(caplog: pytest.LogCaptureFixture) -> None:
    sound, faulty = DutyThatNotes(), DutyWithAFault()
    async with running(controller("a", faulty, sound)) as (task,):
        await eventually(lambda: len(sound.fences) > 3)
        # It is tried again, under the same number: nothing else was begun anew.
        await eventually(lambda: len(faulty.fences) > 1)
        assert not task.done()
    assert set(sound.fences) == set(faulty.fences) == {1}
    faults = [one for one in caplog.records if one.message == "background_round_failed"]
    assert {getattr(one, "loop", "") for one in faults} == {"faulty"}


class LeaseThatIsSilent:
    """The lease of a database that answers no renewal."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.silent = True

    async def acquire(self) -> int | None:
        return await self._lease.acquire()

    async def renew(self, fence: int) -> None:
        if self.silent:
            raise DatabaseUnavailable
        await self._lease.renew(fence)

    async def release(self, fence: int) -> None:
        await self._lease.release(fence)


async def test_without_renewals_nothing_is_done_outside_the_database():
    outside = DutyOutsideTheDatabase()
    lease = LeaseThatIsSilent(LeaseTable("a", term_s=SHORT_S))
    async with running(Controller(lease, [outside], term_s=SHORT_S)):
        await eventually(lambda: outside.refused)
        assert outside.refused == [1]
        assert set(outside.fences) == {1}
        lease.silent = False
        # It takes the lease anew, and goes on.
        await eventually(lambda: outside.fences[-1] > 1)


@asynccontextmanager
async def read_only(server: Postgresql) -> AsyncIterator[None]:
    """Have the database refuse every write, as a server does that another one takes over from."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        name = sql.Identifier("migrated")
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'migrated'"
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name)
        )
        admin.execute(cut)
        try:
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
            admin.execute(cut)


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)
async def test_a_controller_outlives_a_database_that_is_read_only(
    postgresql_server: Postgresql, caplog: pytest.LogCaptureFixture
) -> None:
    source = DutyThatNotes()
    one = controller("a", source)
    await one.start(nothing)
    async with running(one) as (task,):
        async with read_only(postgresql_server):
            await eventually(lambda: task.done() or _says(caplog, "read-only transaction"))
        done = len(source.fences)
        await eventually(lambda: task.done() or len(source.fences) > done + 3)
        assert not task.done()
        caplog.clear()
        # A connection that was made meanwhile may be read-only still, and is closed for that.
        await eventually_so(_expires)
        # Renewed, and by the same holder.
        await eventually_so(_lease_is_held)
    assert set(source.fences) == {1}


def _says(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in str(getattr(record, "reason", "")) for record in caplog.records)


async def _expires() -> bool:
    try:
        await expire()
    except DatabaseUnavailable:
        return False
    return True


async def _lease_is_held() -> bool:
    return await LeaseTable("b", term_s=LONG_S).acquire() is None


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)
async def test_a_controller_outlives_whatever_else_the_database_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in {"sites/c.yaml": SITE, "models/m.yaml": MODEL}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    settings = gateway_settings(tmp_path, controller_lease_s=1, catalog_poll_s=0.1)
    async with open_controller(settings):
        await in_database(_rename, "controller_lease", "mislaid")
        try:
            await eventually(lambda: "background_round_failed" in caplog.messages)
        finally:
            await in_database(_rename, "mislaid", "controller_lease")

        before = await in_database(_lease)

        async def active_again() -> bool:
            # Renewed, or taken anew if it was over.
            return await in_database(_lease) != before

        await eventually_so(active_again)


def _lease() -> tuple[int, object]:
    lease = ControllerLease.objects.get()
    return lease.fence, lease.expires_at


def _rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")
