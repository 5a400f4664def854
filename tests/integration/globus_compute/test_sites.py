"""Observations of a site: shared, short-lived, and honest about a site that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from compute_functions.contract import (
    AgentReport,
    DesiredState,
    EngineAnswer,
    FailureCode,
    Instance,
    InstanceState,
    SiteFailure,
    SiteStatus,
    Wishes,
)
from resource_server.adapters.globus_compute import GlobusComputeBackend, GlobusComputeSites
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster, Deployment
from resource_server.domain.lifecycle import Observation, Reach
from resource_server.domain.upkeep import Upkeep
from resource_server.services.site_board import SiteBoard
from tests.support.catalogs import model
from tests.support.compute_double import STATUS_FUNCTION, ComputeDouble

STATUS = SiteStatus(
    observed_at=1.0,
    instances=(
        Instance(
            model="m",
            framework="vllm",
            state=InstanceState.READY,
            job_id="1",
            host="h",
            started_at=0.0,
        ),
    ),
)


@pytest_asyncio.fixture
async def backend(service: ComputeDouble) -> AsyncIterator[GlobusComputeBackend]:
    async with GlobusComputeBackend(service.clients, addresses=service.addresses) as backend:
        yield backend


async def observed(service: ComputeDouble, sites: GlobusComputeSites, said: object) -> Observation:
    """Observe the site, which says this."""
    service.tasks.clear()
    asking = asyncio.create_task(sites.observe(service.cluster()))
    (task_id,) = await service.accepted(1)
    await service.finish(task_id, said)
    return await asking


async def test_an_observation_serves_everybody_for_a_while(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    sites = GlobusComputeSites(backend)
    asking = [asyncio.create_task(sites.observe(service.cluster())) for _ in range(10)]
    ((task_id, argument),) = (await service.accepted(1)).items()
    await service.finish(task_id, STATUS.to_wire())
    seen = await asyncio.gather(*asking)
    again = await sites.observe(service.cluster())
    assert argument == {"v": 1}
    assert again.instances == STATUS.instances
    assert again.observed_at > 1_700_000_000
    assert all(observation is again for observation in seen)
    assert list(service.submissions[0]["tasks"]) == [STATUS_FUNCTION]
    assert len(service.submissions) == 1


async def test_an_observation_does_not_serve_for_ever(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    sites = GlobusComputeSites(backend, cache_s=0.0)
    await observed(service, sites, STATUS.to_wire())
    changed = await observed(service, sites, SiteStatus(observed_at=2.0).to_wire())
    assert changed.instances == ()


@pytest.mark.parametrize(
    "said",
    [
        SiteFailure(code=FailureCode.SITE_MISCONFIGURED, message="no directory").to_wire(),
        SiteFailure(code=FailureCode.INVALID_REQUEST, message="v is not a number").to_wire(),
        EngineAnswer(status=200, body=b"").to_wire(),
        "rubbish",
    ],
)
async def test_a_site_that_cannot_say_is_an_upstream_error(
    service: ComputeDouble, backend: GlobusComputeBackend, said: object
) -> None:
    with pytest.raises(errors.UpstreamError):
        await observed(service, GlobusComputeSites(backend), said)


async def test_a_site_that_failed_is_left_alone_for_a_while(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    sites = GlobusComputeSites(backend, timeout_s=0.2)
    for _ in range(3):
        with pytest.raises(errors.BackendTimeout):
            await sites.observe(service.cluster())
    assert len(service.submissions) == 1


async def test_an_offline_site_gets_no_task(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    service.endpoint_state = "offline"
    with pytest.raises(errors.BackendUnavailable, match="offline"):
        await GlobusComputeSites(backend).observe(service.cluster())
    assert service.submissions == []


async def test_who_leaves_ends_no_question_and_causes_no_other(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    sites = GlobusComputeSites(backend)
    leaving = asyncio.create_task(sites.observe(service.cluster()))
    (task_id,) = await service.accepted(1)
    staying = asyncio.create_task(sites.observe(service.cluster()))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await service.finish(task_id, STATUS.to_wire())
    assert (await staying).instances == STATUS.instances
    assert len(service.submissions) == 1


async def test_a_client_without_a_file_is_the_operators_business(
    service: ComputeDouble, backend: GlobusComputeBackend
) -> None:
    with pytest.raises(errors.BackendUnavailable, match="operators"):
        await GlobusComputeSites(backend).observe(service.cluster(client="unknown"))
    assert backend.probe() == ()


ENSURE_FUNCTION = "f0000000-0000-4000-8000-000000000003"
AGENT = AgentReport(host="login1", pid=7, fence=2, started_at=0.0, version="1")


class TestSitesThatKeepModels:
    @pytest.fixture
    def board(self, service: ComputeDouble) -> SiteBoard:
        place = Deployment(
            cluster="polaris", framework="vllm", upkeep=Upkeep(gpus=1, walltime_s=60)
        )
        catalog = Catalog([service.cluster()], [replace(model("m"), deployments=(place,))])
        board = SiteBoard("hub")
        board.take_catalog(catalog)
        return board

    def cluster(self, service: ComputeDouble) -> Cluster:
        functions = {"site_status": STATUS_FUNCTION, "ensure_site_agent": ENSURE_FUNCTION}
        return service.cluster(functions=functions)

    async def test_they_are_told_what_is_wanted_and_start_their_agent(
        self, service: ComputeDouble, backend: GlobusComputeBackend, board: SiteBoard
    ) -> None:
        sites = GlobusComputeSites(backend, board=board)
        with board.waiting(("polaris", "vllm", "m")):
            asking = asyncio.create_task(sites.exchange(self.cluster(service)))
            ((task_id, argument),) = (await service.accepted(1)).items()
            await service.finish(task_id, replace(STATUS, agent=AGENT).to_wire())
            seen = await asking
        assert list(service.submissions[0]["tasks"]) == [ENSURE_FUNCTION]
        wishes = Wishes.from_wire(argument)
        assert wishes.desired is not None
        assert [one.model for one in wishes.desired.models] == ["m"]
        assert wishes.demand is not None
        assert (wishes.demand.hub, wishes.demand.models[0].waiting) == ("hub", 1)
        view = board.view("polaris")
        assert view.observation is seen
        assert view.reach is Reach.BY_TASK
        assert board.serves(("polaris", "vllm", "m")) is True

    async def test_one_that_keeps_nothing_any_more_is_told_until_it_says_so(
        self, service: ComputeDouble, backend: GlobusComputeBackend, board: SiteBoard
    ) -> None:
        sites = GlobusComputeSites(backend, board=board)
        board.take_catalog(Catalog([self.cluster(service)], [], version=9))
        for count, revision in ((1, 8), (2, 9), (3, 9)):
            asking = asyncio.create_task(sites.exchange(self.cluster(service)))
            task_id, argument = list((await service.accepted(count)).items())[-1]
            agent = replace(AGENT, generation=1, revision=revision)
            await service.finish(task_id, replace(STATUS, agent=agent).to_wire())
            await asking
            if count < 3:
                assert Wishes.from_wire(argument).desired == DesiredState(generation=1, revision=9)
        called = [list(one["tasks"]) for one in service.submissions]
        assert called == [[ENSURE_FUNCTION], [ENSURE_FUNCTION], [STATUS_FUNCTION]]

    async def test_one_without_the_function_is_only_looked_at_and_starts_nothing(
        self, service: ComputeDouble, backend: GlobusComputeBackend, board: SiteBoard
    ) -> None:
        sites = GlobusComputeSites(backend, board=board)
        await observed(service, sites, STATUS.to_wire())
        assert list(service.submissions[0]["tasks"]) == [STATUS_FUNCTION]
        assert board.view("polaris").reach is Reach.AWAY
        assert board.view("polaris").observation is not None

    async def test_one_that_fails_is_away(
        self, service: ComputeDouble, backend: GlobusComputeBackend, board: SiteBoard
    ) -> None:
        sites = GlobusComputeSites(backend, board=board, timeout_s=0.2)
        with pytest.raises(errors.BackendTimeout):
            await sites.exchange(self.cluster(service))
        assert board.view("polaris").reach is Reach.AWAY

    async def test_wishes_that_come_while_a_question_is_away_follow_it(
        self, service: ComputeDouble, backend: GlobusComputeBackend, board: SiteBoard
    ) -> None:
        sites = GlobusComputeSites(backend, board=board)
        cluster = self.cluster(service)
        looking = asyncio.create_task(sites.observe(cluster))
        (first,) = await service.accepted(1)
        with board.waiting(("polaris", "vllm", "m")):
            telling = asyncio.create_task(sites.exchange(cluster))
            await service.finish(first, replace(STATUS, agent=AGENT).to_wire())
            found = await service.accepted(2)
            (second,) = found.keys() - {first}
            demand = Wishes.from_wire(found[second]).demand
            assert demand is not None
            assert demand.models[0].waiting == 1
            await service.finish(second, replace(STATUS, agent=AGENT).to_wire())
            await asyncio.gather(looking, telling)
