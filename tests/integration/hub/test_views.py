"""A web process sees sites as its hub does, and the hub hears who waits there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from compute_functions.contract import InstanceState
from resource_server.adapters.hub import HubConnection, HubServer, HubViews
from resource_server.domain.lifecycle import Reach, Requests
from resource_server.services.site_board import SiteBoard
from tests.support.doubles import BackendThatEchoes
from tests.support.eventually import eventually
from tests.support.gateway import SiteThatReports
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import instance, kept_catalog, status

PLACE = ("local", FRAMEWORK, MODEL)
POST = (FRAMEWORK, MODEL)


@pytest.fixture
def board() -> SiteBoard:
    board = SiteBoard("hub")
    board.take_catalog(kept_catalog(RelaySite.enrolled()))
    board.link("local")
    board.take_status("local", status(instance(InstanceState.STARTING)))
    return board


@asynccontextmanager
async def hub(board: SiteBoard, address: Path):
    async with HubServer(BackendThatEchoes(), SiteThatReports(), address, board=board, grace_s=0.2):
        yield


@asynccontextmanager
async def views(connection: HubConnection):
    async with HubViews(connection, again_after_s=0.02) as seen:
        yield seen


def waiting(board: SiteBoard) -> int:
    return board.demand.for_site("local", {POST: None})[0].waiting


async def test_it_sees_what_the_hub_knows_and_every_change(board, connection, address):
    async with hub(board, address), views(connection) as seen:
        assert seen.serves(PLACE) is None
        await eventually(lambda: seen.view("local").reach is Reach.LINKED)
        assert seen.view("local").observation == board.known()["local"]
        assert seen.serves(PLACE) is False
        before = seen.view("local")
        changed = asyncio.create_task(seen.changed([before], within_s=20))
        board.take_status("local", status(instance()))
        assert await changed
        assert seen.serves(PLACE) is True
        assert seen.view("local").ready == {POST}


async def test_the_hub_hears_who_waits_and_who_has_left(board, connection, address):
    async with hub(board, address), views(connection) as seen:
        with seen.waiting(PLACE):
            await eventually(lambda: waiting(board) == 1)
            with seen.waiting(PLACE):
                await eventually(lambda: waiting(board) == 2)
            expected = (Requests(framework=FRAMEWORK, model=MODEL, waiting=1),)
            await eventually(lambda: seen.view("local").requests == expected)
        await eventually(lambda: waiting(board) == 0)


async def test_who_asks_and_does_not_wait_is_heard_of(board, connection, address):
    async with hub(board, address), views(connection) as seen:
        await eventually(lambda: seen.view("local").reach is Reach.LINKED)
        with seen.waiting(PLACE):
            pass
        await eventually(lambda: board.demand_at("local").models[0].used_s is not None)


async def test_a_process_that_is_gone_waits_for_nothing(board, connection, address):
    async with hub(board, address), views(connection) as seen:
        with seen.waiting(PLACE):
            await eventually(lambda: waiting(board) == 1)
            # Its end takes along what it had not taken back.
            await seen.__aexit__(None, None, None)
            await eventually(lambda: waiting(board) == 0)


async def test_the_next_hub_learns_of_those_who_still_wait(board, connection, address):
    async with views(connection) as seen:
        with seen.waiting(PLACE):
            async with hub(board, address):
                await eventually(lambda: waiting(board) == 1)
            await eventually(lambda: seen.view("local").reach is Reach.UNKNOWN)
            # What was seen last is still shown, and nobody counts on it.
            assert seen.view("local").observation is not None
            assert seen.serves(PLACE) is None
            fresh = SiteBoard("next")
            fresh.take_catalog(kept_catalog(RelaySite.enrolled()))
            async with hub(fresh, address):
                await eventually(lambda: waiting(fresh) == 1)
                woken = asyncio.create_task(seen.changed([seen.view("local")], within_s=20))
                fresh.link("local")
                fresh.take_status("local", status(instance()))
                assert await woken
                await eventually(lambda: seen.serves(PLACE))


async def test_a_hub_that_stops_does_not_wait_for_watches(board, connection, address):
    async with views(connection) as seen, asyncio.timeout(10), hub(board, address):
        await eventually(lambda: seen.view("local").reach is Reach.LINKED)
