"""How often a site without a link is spoken with, which costs one of few requests each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from compute_functions.contract import Instance, InstanceState, SiteStatus
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster, GlobusComputeTarget
from resource_server.domain.lifecycle import Observation, Reach
from resource_server.services.exchanges import Exchanges, Pace
from resource_server.services.site_board import SiteBoard
from tests.support.catalogs import cluster
from tests.support.eventually import eventually, eventually_so
from tests.support.relay_site import FRAMEWORK, MODEL, RelaySite
from tests.support.site_links import instance, kept_catalog, status

PLACE = ("local", FRAMEWORK, MODEL)
HOURS = 3600.0


class SitesThatAnswer:
    """Answer every exchange with `says`, or fail; `asked` holds cluster, waiting and when."""

    def __init__(self, board: SiteBoard, catalog: Catalog) -> None:
        self.board = board
        self.catalog = catalog
        self.says: SiteStatus = status()
        self.fails = False
        self.asked: list[tuple[str, int, float]] = []

    def become(self, catalog: Catalog) -> None:
        """Have another catalog from now on."""
        self.catalog = catalog
        self.board.take_catalog(catalog)

    async def exchange(self, cluster: Cluster) -> Observation:
        waiting = sum(one.waiting for one in self.board.demand_at(cluster.name).models)
        self.asked.append((cluster.name, waiting, asyncio.get_running_loop().time()))
        if self.fails:
            self.board.take_answer(cluster.name, None)
            raise errors.BackendUnavailable
        observation = self.board.take_answer(cluster.name, self.says)
        assert observation is not None
        return observation


@asynccontextmanager
async def exchanging(
    catalog: Catalog,
    *,
    soon_s: float | None = None,
    busy_s: float = HOURS,
    idle_s: float = HOURS,
    turn_s: float = 0.0,
    told: Iterable[str] = (),
) -> AsyncIterator[SitesThatAnswer]:
    board = SiteBoard("hub")
    board.farewells.remember(told)
    board.take_catalog(catalog)
    sites = SitesThatAnswer(board, catalog)
    soon_s = min(busy_s, idle_s) if soon_s is None else soon_s
    pace = Pace(soon_s=soon_s, busy_s=busy_s, idle_s=idle_s, turn_s=turn_s)
    exchanges = Exchanges(board, lambda: sites.catalog, sites, pace=pace)
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


NOW = 1_000.0


def seen(*instances: Instance, ahead_s: float = 0.0) -> Observation:
    return Observation(observed_at=NOW, instances=instances, ahead_s=ahead_s)


@pytest.mark.parametrize(
    ("observation", "wanted", "news", "pause_s"),
    [
        pytest.param(seen(), False, False, 30.0, id="nothing moves"),
        pytest.param(None, False, True, 30.0, id="it does not answer, and nobody waits"),
        pytest.param(seen(), True, False, 5.0, id="somebody waits"),
        pytest.param(None, True, True, 5.0, id="it does not answer"),
        pytest.param(seen(), True, True, 1.5, id="it has just heard of it"),
        pytest.param(seen(instance(InstanceState.DRAINING)), False, False, 5.0, id="one drains"),
        pytest.param(
            seen(instance(InstanceState.STARTING, ready_at=NOW + 3)), True, False, 3.0, id="soon"
        ),
        pytest.param(
            seen(instance(InstanceState.STARTING, ready_at=NOW + 63), ahead_s=60),
            True,
            False,
            3.0,
            id="soon, by another clock",
        ),
        pytest.param(
            seen(instance(InstanceState.QUEUED, ready_at=NOW + 0.2)), True, False, 1.5, id="at once"
        ),
        pytest.param(
            seen(instance(InstanceState.QUEUED, ready_at=NOW + 90)), True, False, 5.0, id="late"
        ),
        # It says that it is ready now for as long as it is late.
        pytest.param(
            seen(instance(InstanceState.STARTING, ready_at=NOW)), True, False, 5.0, id="overdue"
        ),
    ],
)
def test_when_it_is_spoken_with_again(
    observation: Observation | None, wanted: bool, news: bool, pause_s: float
):
    pace = Pace(soon_s=1.5, busy_s=5.0, idle_s=30.0)
    assert pace.pause_s(observation, wanted=wanted, news=news) == pause_s


@pytest.mark.row("C-60")
async def test_what_it_makes_of_the_news_is_asked_soon():
    async with exchanging(kept(), soon_s=0.05) as sites:
        await eventually(lambda: sites.asked)
        sites.says = status(instance(InstanceState.QUEUED))
        with sites.board.waiting(PLACE):
            await eventually(lambda: len(sites.asked) == 3)


@pytest.mark.row("C-60")
async def test_it_hears_at_once_of_who_waits_after_all_others_were_answered():
    async with exchanging(kept()) as sites:
        await eventually(lambda: sites.asked)
        with sites.board.waiting(PLACE):
            await eventually(lambda: len(sites.asked) == 2)
        # Time to see that nobody waits any more.
        await sites.board.changes.after({"never": 0}, within_s=0.2)
        with sites.board.waiting(PLACE):
            await eventually(lambda: len(sites.asked) == 3)
        assert sites.asked[-1][1] == 1


async def test_it_hears_that_nobody_waits_any_more():
    """The answer that they waited for wakes them before the pause is chosen."""
    async with exchanging(kept(), busy_s=0.05) as sites:
        await eventually(lambda: sites.asked)

        async def wait_until_ready() -> None:
            with sites.board.waiting(PLACE):
                await eventually(lambda: sites.board.serves(PLACE))

        waiter = asyncio.create_task(wait_until_ready())
        await eventually(lambda: sites.asked[-1][1] == 1)
        sites.says = status(instance())
        await waiter
        await eventually(lambda: sites.asked[-1][1] == 0)


def emptied(catalog: Catalog, *, version: int) -> Catalog:
    """Return the catalog after nothing is kept in it any more."""
    return Catalog(catalog.clusters.values(), [], version=version)


class TestAfterTheLastKeptModel:
    async def test_a_site_is_spoken_with_until_it_says_that_it_has_heard(self):
        catalog = kept()
        async with exchanging(catalog, busy_s=0.02, idle_s=0.02) as sites:
            sites.says = status(instance(), version=(1, 1))
            await eventually(lambda: sites.asked)
            sites.asked.clear()
            sites.become(emptied(catalog, version=2))
            # It answers before its agent has read what it was told.
            await eventually(lambda: len(sites.asked) > 2)
            sites.says = status(version=(1, 2))
            await silent(sites)
            # What changes elsewhere costs nothing here.
            sites.become(emptied(catalog, version=3))
            await silent(sites)

    async def test_one_that_is_away_is_told_when_it_is_back(self):
        catalog = kept()
        async with exchanging(catalog, idle_s=0.02) as sites:
            await eventually(lambda: sites.asked)
            sites.fails = True
            sites.become(emptied(catalog, version=2))
            sites.asked.clear()
            await eventually(lambda: len(sites.asked) > 2)
            sites.says, sites.fails = status(version=(1, 2)), False
            await silent(sites)

    async def test_one_without_an_agent_has_nothing_to_hear(self):
        catalog = kept()
        async with exchanging(catalog, idle_s=0.02) as sites:
            sites.says = replace(status(), agent=None)
            await eventually(lambda: sites.asked)
            sites.become(emptied(catalog, version=2))
            await silent(sites)

    async def test_a_model_that_is_kept_again_is_told_as_ever(self):
        catalog = kept()
        async with exchanging(catalog) as sites:
            await eventually(lambda: sites.asked)
            sites.become(emptied(catalog, version=2))
            sites.says = status(version=(1, 2))
            await eventually(lambda: len(sites.asked) > 1)
            asked = len(sites.asked)
            sites.become(Catalog(catalog.clusters.values(), catalog.models.values(), version=3))
            await eventually(lambda: len(sites.asked) > asked)

    async def test_one_that_an_earlier_process_told_of_models_is_owed_the_end(self):
        catalog = emptied(kept(), version=7)
        async with exchanging(catalog, told=["local"], idle_s=0.02, busy_s=0.02) as sites:
            sites.says = status(instance(), version=(1, 6))
            await eventually(lambda: len(sites.asked) > 2)
            assert sites.board.farewells.told == {"local"}
            sites.says = status(version=(1, 7))
            await silent(sites)
            assert not sites.board.farewells.told

    async def test_one_that_leaves_the_catalog_hears_the_end_when_it_is_back(self):
        catalog = kept()
        async with exchanging(catalog) as sites:
            await eventually(lambda: sites.asked)
            sites.become(Catalog([], [], version=2))
            asked = len(sites.asked)
            sites.become(emptied(catalog, version=3))
            await eventually(lambda: len(sites.asked) > asked)

    async def test_what_a_site_worked_by_before_this_hub_began_is_over_too(self):
        catalog = emptied(kept(), version=7)
        async with exchanging(catalog, idle_s=0.02, busy_s=0.02) as sites:
            await sites.board.wishes_changed.after({"never": 0}, within_s=0.1)
            assert sites.asked == []
            # Somebody looked, as `GET …/jobs` does.
            sites.says = status(version=(1, 7))
            sites.board.take_answer("local", status(instance(), version=(1, 6)))
            sites.board.wishes_changed.note("local")
            await eventually(lambda: sites.asked)
            await silent(sites)


async def silent(sites: SitesThatAnswer) -> None:
    """Wait until the sites are not asked any more."""

    async def is_silent() -> bool:
        asked = len(sites.asked)
        await sites.board.changes.after({"never": 0}, within_s=0.2)
        return len(sites.asked) == asked

    await eventually_so(is_silent)
