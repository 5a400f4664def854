"""How often a site without a link is spoken with, which costs one of few requests each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from compute_functions.contract import InstanceState, SiteStatus
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster, GlobusComputeTarget
from resource_server.domain.lifecycle import Observation, Reach
from resource_server.services.exchanges import Exchanges
from resource_server.services.site_board import SiteBoard
from tests.support.catalogs import cluster
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import instance, kept_catalog, status

PLACE = ("local", FRAMEWORK, MODEL)
HOURS = 3600.0


class SitesThatAnswer:
    """Answer every exchange with `says`, or fail; `asked` holds cluster, waiting and when."""

    def __init__(self, board: SiteBoard) -> None:
        self.board = board
        self.says: SiteStatus = status()
        self.fails = False
        self.asked: list[tuple[str, int, float]] = []

    async def exchange(self, cluster: Cluster) -> Observation:
        waiting = sum(one.waiting for one in self.board.demand_at(cluster.name).models)
        self.asked.append((cluster.name, waiting, asyncio.get_running_loop().time()))
        if self.fails:
            self.board.take_answer(cluster.name, None)
            raise errors.BackendUnavailable
        return self.board.take_answer(cluster.name, self.says)


@asynccontextmanager
async def exchanging(
    catalog: Catalog, *, busy_s: float = HOURS, idle_s: float = HOURS, turn_s: float = 0.0
) -> AsyncIterator[SitesThatAnswer]:
    board = SiteBoard("hub")
    board.take_catalog(catalog)
    sites = SitesThatAnswer(board)
    exchanges = Exchanges(
        board, lambda: catalog, sites, busy_s=busy_s, idle_s=idle_s, turn_s=turn_s
    )
    running = asyncio.create_task(exchanges.run())
    try:
        yield sites
    finally:
        running.cancel()
        await asyncio.wait({running})


def kept(names: Iterable[str] = ("local",), *, client: str = "local") -> Catalog:
    """Return a catalog of clusters that keep a model each."""
    catalogs = [kept_catalog(RelaySite.enrolled(name)) for name in names]
    target = GlobusComputeTarget(client=client, endpoint_id="e", functions={})
    clusters = [
        replace(one, globus_compute=target) for each in catalogs for one in each.clusters.values()
    ]
    models = [
        replace(one, id=f"{MODEL}-{at}" if at else MODEL)
        for at, each in enumerate(catalogs)
        for one in each.models.values()
    ]
    return Catalog(clusters, models, version=1)


async def test_a_site_is_spoken_with_at_once_and_then_seldom():
    async with exchanging(kept()) as sites:
        await eventually(lambda: sites.asked)
        assert [name for name, _, _ in sites.asked] == ["local"]
        assert sites.board.view("local").reach is Reach.BY_TASK


async def test_it_hears_at_once_that_somebody_waits():
    async with exchanging(kept()) as sites:
        await eventually(lambda: sites.asked)
        with sites.board.waiting(PLACE):
            await eventually(lambda: len(sites.asked) == 2)
            assert sites.asked[-1][1] == 1


async def test_it_hears_at_once_that_something_else_is_desired():
    catalog = kept()
    async with exchanging(catalog) as sites:
        await eventually(lambda: sites.asked)
        sites.board.take_catalog(
            Catalog(catalog.clusters.values(), catalog.models.values(), version=2)
        )
        await eventually(lambda: len(sites.asked) == 2)


@pytest.mark.parametrize(
    "state", [InstanceState.QUEUED, InstanceState.STARTING, InstanceState.DRAINING]
)
async def test_while_something_is_under_way_it_is_spoken_with_more_often(state: InstanceState):
    async with exchanging(kept(), busy_s=0.05) as sites:
        sites.says = status(instance(state))
        await eventually(lambda: len(sites.asked) > 4)


async def test_while_somebody_waits_it_is_spoken_with_more_often():
    async with exchanging(kept(), busy_s=0.05) as sites:
        with sites.board.waiting(PLACE):
            await eventually(lambda: len(sites.asked) > 4)


async def test_one_that_does_not_answer_is_away_and_asked_again():
    async with exchanging(kept(), idle_s=0.05) as sites:
        sites.fails = True
        await eventually(lambda: len(sites.asked) > 2)
        assert sites.board.view("local").reach is Reach.AWAY
        sites.fails = False
        await eventually(lambda: sites.board.view("local").reach is Reach.BY_TASK)


async def test_sites_of_one_identity_take_turns():
    names = ["a", "b", "c", "d"]
    async with exchanging(kept(names), turn_s=0.1) as sites:
        await eventually(lambda: len(sites.asked) == 4)
        assert sorted(name for name, _, _ in sites.asked) == names
        times = [at for _, _, at in sites.asked]
        # The timers of the event loop may be early by their own resolution.
        assert times[-1] - times[0] > 0.25


async def test_one_with_a_link_speaks_by_itself():
    async with exchanging(kept(), idle_s=0.02) as sites:
        await eventually(lambda: sites.asked)
        sites.board.link("local")
        await asyncio.sleep(0)
        asked = len(sites.asked)
        with sites.board.waiting(PLACE):
            # Time for several exchanges, if there were any.
            assert not await sites.board.changes.after(
                {"local": sites.board.changes.number("local")}, within_s=0.2
            )
        assert len(sites.asked) <= asked + 1


async def test_one_that_links_before_its_turn_is_not_asked():
    async with exchanging(kept(["a", "b", "c"]), turn_s=0.1) as sites:
        await eventually(lambda: sites.asked)
        sites.board.link("b")
        await eventually(lambda: len(sites.asked) == 2)
        assert [name for name, _, _ in sites.asked] == ["a", "c"]


async def test_one_that_keeps_nothing_for_us_costs_nothing():
    async with exchanging(Catalog([cluster()])) as sites:
        with sites.board.waiting(PLACE):
            await sites.board.wishes_changed.after({"never": 0}, within_s=0.1)
        assert sites.asked == []


async def test_who_waits_at_a_site_without_a_link_is_woken_by_what_it_answers():
    async with exchanging(kept(), busy_s=0.05) as sites:
        sites.says = status(instance(InstanceState.STARTING))
        with sites.board.waiting(PLACE):
            await eventually(lambda: sites.board.view("local").observation)
            view = sites.board.view("local")
            woken = asyncio.create_task(sites.board.changed([view], within_s=20))
            sites.says = status(instance())
            assert await woken
            await eventually(lambda: sites.board.serves(PLACE))


async def test_one_whose_link_is_lost_is_spoken_with_at_once():
    async with exchanging(kept()) as sites:
        sites.board.link("local")
        await asyncio.sleep(0)
        before = len(sites.asked)
        sites.board.unlink("local")
        await eventually(lambda: len(sites.asked) > before)
