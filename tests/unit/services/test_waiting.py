"""Where a request waits if its model is kept at several places, and where it is asked at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from compute_functions.contract import InstanceState, ModelOutlook
from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.api.json_body import JsonBody
from resource_server.domain import errors, routing
from resource_server.domain.catalog import Catalog, Deployment
from resource_server.domain.limit_rules import LimitRules
from resource_server.domain.prospect import Prospect
from resource_server.domain.routing import Base, Choice, Destination
from resource_server.domain.upkeep import Override, Upkeep, Wish
from resource_server.services.carriage import Admitted, CompletionRequest
from resource_server.services.impasses import Impasses
from resource_server.services.limits import Limits
from resource_server.services.site_board import SiteBoard
from resource_server.services.vigil import WaitTimes
from resource_server.services.waiting import Waiting
from tests.support.catalogs import cluster, members, model
from tests.support.doubles import person
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance, status

ALICE = person("alice@example.org")
BODY = JsonBody(b'{"model": "a/b"}')
PLACE_A = ("a", FRAMEWORK, MODEL)
UPKEEP = Upkeep(gpus=1, walltime_s=3600)


@dataclass
class Places:
    """Two clusters that keep a model, and a third where somebody starts it by hand."""

    kept: tuple[str, ...] = ("a", "b")
    by_hand: tuple[str, ...] = ()
    maintenance: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    runs_at: set[str] = field(default_factory=set)
    unreached_s: float = 60.0

    def __post_init__(self) -> None:
        names = (*self.kept, *self.by_hand)
        places = tuple(
            Deployment(
                cluster=name, framework=FRAMEWORK, upkeep=UPKEEP if name in self.kept else None
            )
            for name in names
        )
        self.catalog = Catalog(
            [cluster(name, maintenance="x" * (name in self.maintenance)) for name in names],
            [replace(model(MODEL), deployments=places)],
        )
        self.board = SiteBoard("hub")
        self.board.take_catalog(self.catalog)
        self.told: list[Prospect] = []
        self.impasses = Impasses(longest_s=self.unreached_s)
        self.waiting = Waiting(
            self.board,
            lambda: self.catalog,
            times=WaitTimes(notice_s=0.05, again_s=0.02),
            impasses=self.impasses,
        )

    def say(self, name: str, *states: InstanceState, load_s: float | None = None) -> None:
        """Have a site's agent say what it has."""
        if not self.board.is_linked(name):
            self.board.link(name)
        outlook = ModelOutlook(model=MODEL, framework=FRAMEWORK, load_s=load_s)
        instances = [instance(state) for state in states]
        self.board.take_status(name, status(*instances, outlooks=[outlook]))

    def choice(self) -> Choice:
        return routing.choose(self.catalog, ALICE, Base(), MODEL)

    async def ask(self, admitted: Admitted, destination: Destination) -> str:
        name = destination.cluster.name
        self.asked.append(name)
        if destination.cluster.maintenance:
            raise errors.BackendUnavailable("under maintenance")
        if name not in self.runs_at:
            raise errors.ModelNotRunning
        return name

    @asynccontextmanager
    async def admitted(
        self, choice: Choice, *, wait_s: float | None = None
    ) -> AsyncIterator[Admitted]:
        request = CompletionRequest(
            request_id="r", base=Base(), route="completions", body=BODY, wait_s=wait_s
        )
        async with (
            Limits(MemoryLimitStore(), LimitRules) as limits,
            limits.admitted(ALICE, choice.named.model, request_id="r") as admission,
        ):
            yield Admitted(
                person=ALICE,
                request=request,
                named=choice.named,
                body=BODY,
                admission=admission,
                began_at=asyncio.get_running_loop().time(),
            )

    async def carried(self, *, wait_s: float | None = None) -> str:
        choice = self.choice()
        async with self.admitted(choice, wait_s=wait_s) as admitted:
            _, answer, _ = await self.waiting.carried(admitted, choice, self.ask)
            return answer

    async def streamed(self, *, wait_s: float | None = None) -> str:
        """Return what a stream gets; `told` is what it hears meanwhile."""

        async def tell(prospect: Prospect) -> None:
            self.told.append(prospect)

        choice = self.choice()
        async with self.admitted(choice, wait_s=wait_s) as admitted:
            found = await self.waiting.tried(admitted, choice, self.ask)
            if found is not None:
                return found[1]
            async with self.waiting.vigil(admitted, choice, streams=True) as vigil:
                _, answer = await vigil.carried(self.ask, tell)
                return answer

    def waits_at(self, name: str) -> Callable[[], bool]:
        return lambda: bool(self.board.demand.of(name))


async def test_the_place_that_is_ready_is_asked_and_no_other():
    places = Places(runs_at={"b"})
    places.say("a")
    places.say("b", InstanceState.READY)
    assert await places.carried() == "b"
    assert places.asked == ["b"]
    assert places.board.demand_at("a").models[0].used_s is None


async def test_a_place_of_which_nothing_is_known_is_asked():
    places = Places(runs_at={"a"})
    assert await places.carried() == "a"


@pytest.mark.parametrize(
    ("at_a", "at_b", "waits_at"),
    [
        ((), (), "a"),
        ((), (InstanceState.QUEUED,), "b"),
        ((InstanceState.QUEUED,), (InstanceState.STARTING,), "b"),
    ],
)
async def test_it_waits_where_the_model_is_furthest_and_only_there(at_a, at_b, waits_at):
    places = Places(runs_at={"a", "b"})
    places.say("a", *at_a)
    places.say("b", *at_b)
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at(waits_at))
    other = "b" if waits_at == "a" else "a"
    assert not places.board.demand.of(other)
    # Wherever it is ready first.
    places.say(other, InstanceState.READY)
    assert await asking == other
    assert places.asked == [other]
    assert not places.board.demand.of(waits_at)


async def test_it_changes_over_to_a_place_that_overtakes():
    places = Places(runs_at={"b"})
    places.say("a", InstanceState.QUEUED)
    places.say("b")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.say("b", InstanceState.STARTING)
    await eventually(places.waits_at("b"))
    assert not places.board.demand.of("a")
    places.say("b", InstanceState.READY)
    assert await asking == "b"


async def test_the_faster_of_two_idle_places_is_started():
    places = Places()
    places.say("a", load_s=600.0)
    places.say("b", load_s=30.0)
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("b"))
    asking.cancel()
    await asyncio.wait({asking})
    assert not places.board.demand.of("b")


async def test_one_that_somebody_starts_by_hand_is_tried_first():
    places = Places(kept=("a",), by_hand=("c",), runs_at={"c"})
    places.say("a")
    assert await places.carried() == "c"
    places = Places(kept=("a",), by_hand=("c",))
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    assert places.asked == ["c"]
    places.runs_at.add("a")
    places.say("a", InstanceState.READY)
    assert await asking == "a"


async def test_a_model_that_nobody_keeps_fails_as_ever():
    places = Places(kept=(), by_hand=("c",))
    with pytest.raises(errors.ModelNotRunning):
        await places.carried()


async def test_a_place_under_maintenance_does_not_keep_from_waiting_at_another():
    places = Places(maintenance=("b",), runs_at={"a"})
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.say("a", InstanceState.READY)
    assert await asking == "a"
    assert places.asked == ["a"]


async def test_if_all_are_under_maintenance_the_caller_is_told_so():
    places = Places(maintenance=("a", "b"))
    with pytest.raises(errors.BackendUnavailable, match="maintenance"):
        await places.carried()


async def test_one_that_is_ready_and_has_no_instance_is_asked_again_now_and_then():
    places = Places(kept=("a",))
    places.say("a", InstanceState.READY)
    asking = asyncio.create_task(places.carried())
    await eventually(lambda: len(places.asked) >= 3)
    places.runs_at.add("a")
    assert await asking == "a"


NO_WAY = "no way leads to the instance"


async def test_who_waits_for_an_instance_that_is_ready_and_not_reached_is_told_so():
    places = Places(kept=("a",))
    places.say("a", InstanceState.READY)
    asking = asyncio.create_task(places.streamed())
    await eventually(lambda: len(places.told) >= 2)
    assert {one.facts()["reason"] for one in places.told} == {NO_WAY}
    assert {one.ready_in_s for one in places.told} == {None}
    places.runs_at.add("a")
    places.board.note_relay("a")
    assert await asking == "a"
    # It is over with the first answer.
    assert places.impasses.for_s(PLACE_A, places.board.view("a")) is None


@pytest.mark.parametrize("streams", [True, False])
async def test_that_wait_has_an_end_of_its_own_and_the_next_caller_hears_it_at_once(streams):
    places = Places(kept=("a",), unreached_s=0.1)
    places.say("a", InstanceState.READY)
    ask = places.streamed if streams else places.carried
    with pytest.raises(errors.ModelUnavailable, match="no way leads to it") as caught:
        await ask()
    assert caught.value.state["reason"] == NO_WAY
    assert caught.value.retry_after_s is not None
    asked, places.told = len(places.asked), []
    with pytest.raises(errors.ModelUnavailable, match="no way leads to it"):
        await ask()
    # Tried once, since it may be in order by now, and nothing waited for.
    assert (len(places.asked), places.told) == (asked + 1, [])
    places.runs_at.add("a")
    assert await ask() == "a"


async def test_another_instance_is_given_its_time():
    places = Places(kept=("a",), unreached_s=0.1)
    places.say("a", InstanceState.READY)
    with pytest.raises(errors.ModelUnavailable):
        await places.streamed()
    status_ = status(replace(instance(), job_id="8"))
    places.board.take_status("a", status_)
    assert places.impasses.for_s(PLACE_A, places.board.view("a")) is None


async def test_while_one_place_is_not_reached_another_is_waited_for():
    places = Places(unreached_s=0.1)
    places.say("a", InstanceState.READY)
    places.say("b", InstanceState.STARTING)
    asking = asyncio.create_task(places.streamed())
    await eventually(places.waits_at("b"))
    assert not places.board.demand.of("a")
    # The other may be in order again first.
    places.runs_at.add("a")
    places.board.note_relay("a")
    assert await asking == "a"


async def test_a_site_that_says_nothing_of_an_instance_is_no_such_case():
    places = Places(kept=("a",), unreached_s=0.0)
    places.say("a", InstanceState.STARTING)
    asking = asyncio.create_task(places.streamed())
    await eventually(lambda: len(places.told) >= 3)
    assert not [one for one in places.told if one.reason]
    places.runs_at.add("a")
    places.say("a", InstanceState.READY)
    assert await asking == "a"


async def test_a_site_that_is_lost_while_one_waits_ends_the_wait():
    places = Places(kept=("a",))
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.board.unlink("a")
    places.board.take_answer("a", None)
    with pytest.raises(errors.ModelUnavailable, match="cannot be reached"):
        await asking


async def test_a_model_that_leaves_the_catalog_ends_the_wait():
    places = Places(kept=("a",))
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.catalog = Catalog()
    places.board.note_relay("a")
    with pytest.raises(errors.ModelUnavailable, match="nowhere"):
        await asking


def without_the_model(places: Places) -> Catalog:
    return Catalog(places.catalog.clusters.values())


def without_its_lifecycle(places: Places) -> Catalog:
    by_hand = (Deployment(cluster="a", framework=FRAMEWORK),)
    return Catalog(places.catalog.clusters.values(), [replace(model(MODEL), deployments=by_hand)])


@pytest.mark.parametrize("changed", [without_the_model, without_its_lifecycle])
async def test_a_model_that_is_kept_no_more_ends_the_wait_though_its_cluster_stays(
    changed: Callable[[Places], Catalog],
):
    places = Places(kept=("a",))
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.catalog = changed(places)
    places.board.note_relay("a")
    with pytest.raises(errors.ModelUnavailable, match="nowhere"):
        await asking
    assert not places.board.demand.of("a")


async def test_who_may_not_use_it_any_more_does_not_get_it_after_the_wait():
    places = Places(kept=("a",), runs_at={"a"})
    places.say("a")
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    kept = places.catalog.models[MODEL]
    places.catalog = Catalog(
        places.catalog.clusters.values(), [replace(kept, access=members("others"))]
    )
    places.say("a", InstanceState.READY)
    with pytest.raises(errors.ModelUnavailable, match="nowhere"):
        await asking
    assert places.asked == []


async def test_it_goes_to_the_place_as_it_is_then_and_not_as_it_was():
    places = Places(kept=("a",), runs_at={"a"})
    places.say("a")
    timeouts: list[float] = []

    async def ask(admitted: Admitted, destination: Destination) -> str:
        timeouts.append(destination.cluster.request_timeout_s)
        return "a"

    places.ask = ask  # type: ignore[method-assign] # the place tells how it was reached
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    moved = replace(places.catalog.clusters["a"], request_timeout_s=99)
    places.catalog = Catalog([moved], places.catalog.models.values())
    places.say("a", InstanceState.READY)
    assert await asking == "a"
    assert timeouts == [99]


@pytest.mark.parametrize("reached", [False, True])
async def test_a_model_that_is_disabled_is_not_served_though_it_still_runs(reached: bool):
    places = Places(kept=("a",), runs_at={"a"})
    if reached:
        places.say("a", InstanceState.READY)
    said = Override(model=MODEL, cluster="a").told(Wish.DISABLE, now=1.0)
    places.catalog = Catalog(
        places.catalog.clusters.values(), places.catalog.models.values(), overrides=[said]
    )
    with pytest.raises(errors.ModelUnavailable, match="out of service"):
        await places.carried()
    assert places.asked == []


async def test_who_does_not_wait_is_told_at_once_even_of_one_that_says_it_is_ready():
    places = Places(kept=("a",))
    places.say("a", InstanceState.READY)
    choice = places.choice()
    async with places.admitted(choice, wait_s=0.0) as admitted:
        with pytest.raises(errors.ModelLoading):
            await places.waiting.vigil(admitted, choice, streams=True).__aenter__()
    assert places.board.demand_at("a").models[0].used_s is not None


async def test_a_change_while_a_place_is_asked_is_not_missed():
    places = Places(kept=("a",))
    hour = WaitTimes(notice_s=3600, again_s=3600)
    places.waiting = Waiting(places.board, lambda: places.catalog, times=hour)
    places.say("a")
    asked: list[str] = []

    async def ask(admitted: Admitted, destination: Destination) -> str:
        asked.append("a")
        if len(asked) > 1:
            return "a"
        # Its relay connects when this request has just been told that there is none.
        places.board.note_relay("a")
        raise errors.ModelNotRunning

    places.ask = ask  # type: ignore[method-assign] # the place changes while it is asked
    asking = asyncio.create_task(places.carried())
    await eventually(places.waits_at("a"))
    places.say("a", InstanceState.READY)
    assert await asyncio.wait_for(asking, 20) == "a"


def test_a_place_that_goes_on_refusing_is_asked_less_and_less():
    times = WaitTimes(notice_s=10.0, again_s=2.0)
    pauses = [0.0]
    for _ in range(5):
        pauses.append(times.pause_s(pauses[-1]))
    assert pauses[1:] == [2.0, 4.0, 8.0, 10.0, 10.0]
