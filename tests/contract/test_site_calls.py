"""What every way to a site's functions promises: by link, by task, and through a hub.

By link the agent's own code answers, by task the real endpoint agent of a local Globus that keeps
to the service's limits. The hub's way goes on by link: what lies behind it is one of the others.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from compute_functions.contract import FailureCode, JsonObject, SiteFailure
from compute_functions.contract.batches import (
    MOST_PIECE,
    BatchCall,
    BatchFile,
    BatchOrder,
    BatchReports,
    BatchState,
    BatchVerb,
    Piece,
    PieceCall,
)
from compute_functions.site_agent import functions
from compute_functions.site_agent.calls import Calls
from resource_server.adapters.globus_compute import GlobusComputeBackend, ServiceAddresses
from resource_server.adapters.hub import HubCalls, HubConnection, HubServer
from resource_server.adapters.site_calls import CallsByLink, CallsByTask, CallsChosen
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from resource_server.ports import SiteCalls
from tests.support import batch_orders
from tests.support.agent_links import agent_link
from tests.support.batch_orders import BatchSite, order, over_json, sum_of
from tests.support.catalogs import cluster
from tests.support.compute_site import compute_site
from tests.support.doubles import BackendThatEchoes
from tests.support.eventually import eventually, eventually_so
from tests.support.gateway import SiteThatReports
from tests.support.local_globus import LocalGlobus
from tests.support.relay_site import RelaySite
from tests.support.site_links import kept_catalog, site_hub

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

#: Until the service has heard of an endpoint that has just begun (seconds).
HEARD_WITHIN_S = 60.0
RUN, FILE = SiteFunction.RUN_BATCH, SiteFunction.BATCH_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One way, to one site; `nobody` is a cluster to which it does not lead."""

    calls: SiteCalls
    cluster: Cluster
    nobody: Cluster
    site: BatchSite

    async def run(self, call: BatchCall) -> BatchReports:
        wire = await self.calls.call(self.cluster, RUN, call.to_wire())
        return BatchReports.from_wire(wire)

    async def submitted(self, wanted: BatchOrder) -> BatchReports:
        return await self.run(BatchCall(verb=BatchVerb.SUBMIT, order=wanted))

    async def file(self, call: PieceCall) -> JsonObject:
        return await self.calls.call(self.cluster, FILE, call.to_wire())

    async def answers(self) -> bool:
        """Tell whether the site can be called yet."""
        try:
            await self.run(BatchCall(verb=BatchVerb.REPORT, batches=("batch_unheard_of",)))
        except errors.UpstreamError:
            return False
        return True


@asynccontextmanager
async def by_link(folder: Path) -> AsyncIterator[Plant]:
    site, enrolled = batch_orders.batch_site(folder), RelaySite.enrolled("local")
    async with (
        site_hub(kept_catalog(enrolled), folder) as hub,
        agent_link(hub.port, enrolled, folder, Calls(functions.of(site.site))) as (_, link),
    ):
        calls = CallsByLink(hub.agents)
        await eventually(lambda: link.is_open and calls.serves(cluster("local"), RUN))
        yield Plant(calls=calls, cluster=cluster("local"), nobody=cluster("other"), site=site)


@asynccontextmanager
async def by_task(folder: Path) -> AsyncIterator[Plant]:
    async with AsyncExitStack() as stack:
        globus = await stack.enter_async_context(LocalGlobus(folder / "globus", limits=True))
        compute = await stack.enter_async_context(compute_site(globus))
        addresses = ServiceAddresses(auth=globus.auth_url, compute=globus.url)
        backend = await stack.enter_async_context(
            GlobusComputeBackend(compute.clients, addresses=addresses)
        )
        here = compute.cluster()
        plant = Plant(
            calls=CallsByTask(backend),
            cluster=here,
            nobody=compute.cluster(endpoint_id="00000000-0000-4000-8000-000000000000"),
            site=batch_orders.batch_site(compute.site.root.parent),
        )
        await eventually_so(plant.answers, seconds=HEARD_WITHIN_S, every_s=1.0)
        yield plant


@asynccontextmanager
async def through_a_hub(folder: Path) -> AsyncIterator[Plant]:
    socket = folder / "run" / "hub.sock"
    async with (
        by_link(folder) as behind,
        GlobusComputeBackend(folder) as tasks,
        HubServer(
            BackendThatEchoes(),
            SiteThatReports(),
            socket,
            site_calls=CallsChosen(_link_of(behind), CallsByTask(tasks)),
        ),
        HubConnection(socket) as connection,
    ):
        yield Plant(
            calls=HubCalls(connection),
            cluster=behind.cluster,
            nobody=behind.nobody,
            site=behind.site,
        )


def _link_of(plant: Plant) -> CallsByLink:
    assert isinstance(plant.calls, CallsByLink)
    return plant.calls


_WAYS: dict[str, Callable[[Path], AbstractAsyncContextManager[Plant]]] = {
    "link": by_link,
    "task": by_task,
    "hub": through_a_hub,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=_WAYS)
async def plant(request: pytest.FixtureRequest) -> AsyncIterator[Plant]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with _WAYS[request.param](Path(folder)) as plant:
            yield plant


async def test_a_function_is_called_and_may_be_called_again(plant: Plant) -> None:
    wanted = order("batch_0000000a")
    first = await plant.submitted(wanted)
    again = await plant.submitted(wanted)
    assert [report.state for report in first.reports] == [BatchState.RECEIVING]
    assert again == first
    assert plant.site.folder(wanted.batch).order.exists()


async def test_the_largest_pieces_go_there_and_come_back(plant: Plant) -> None:
    content = os.urandom(2 * MOST_PIECE)
    wanted = order("batch_0000000b", upload=sum_of(content), most_bytes=len(content))
    await plant.submitted(wanted)
    half = content[:MOST_PIECE]
    put = PieceCall(batch=wanted.batch, file=BatchFile.INPUT, offset=0, content=half)
    assert Piece.from_wire(await plant.file(put)) == Piece(size=MOST_PIECE)

    done = plant.site.finish(wanted.batch)
    done.output.write_bytes(content)
    asked = PieceCall(batch=wanted.batch, file=BatchFile.OUTPUT, offset=MOST_PIECE)
    assert Piece.from_wire(await plant.file(asked)) == Piece(
        size=len(content), content=content[MOST_PIECE:]
    )


async def test_what_a_site_refuses_comes_as_what_the_function_gave(plant: Plant) -> None:
    asked = PieceCall(batch="batch_unheard_of", file=BatchFile.OUTPUT, offset=0)
    failure = SiteFailure.from_wire(await plant.file(asked))
    assert failure.code is FailureCode.BATCH_UNKNOWN


async def test_what_is_no_call_is_refused_by_the_function(plant: Plant) -> None:
    wire = await plant.calls.call(plant.cluster, RUN, {"v": 1, "nonsense": [None, "ä", 1 << 80]})
    assert SiteFailure.from_wire(wire).code is FailureCode.INVALID_REQUEST


async def test_of_many_at_once_each_gets_its_own_answer(plant: Plant) -> None:
    names = [f"batch_many_{at}" for at in range(4)]
    found = await asyncio.gather(
        *(plant.run(BatchCall(verb=BatchVerb.REPORT, batches=(name,))) for name in names)
    )
    assert [one.unknown for one in found] == [(name,) for name in names]


async def test_who_leaves_takes_nobody_along(plant: Plant) -> None:
    wanted = order("batch_0000000c")
    leaving = asyncio.create_task(plant.submitted(wanted))
    staying = asyncio.create_task(plant.submitted(wanted))
    await asyncio.sleep(0)
    leaving.cancel()
    assert [report.batch for report in (await staying).reports] == [wanted.batch]
    assert leaving.cancelled()


async def test_where_nobody_is_the_error_says_that_the_site_does_not_answer(plant: Plant) -> None:
    with pytest.raises(errors.UpstreamError) as raised:
        await plant.calls.call(plant.nobody, RUN, {"v": 1})
    assert not isinstance(raised.value, errors.BackendTimeout)


async def test_what_the_other_side_reads_is_what_was_sent(plant: Plant) -> None:
    wire = BatchCall(verb=BatchVerb.REPORT, batches=("batch_0000000d",)).to_wire()
    assert (
        over_json(await plant.calls.call(plant.cluster, RUN, wire))
        == BatchReports(unknown=("batch_0000000d",)).to_wire()
    )


async def test_it_says_how_soon_to_ask_again(plant: Plant) -> None:
    assert await plant.answers()
    assert 1.0 < plant.calls.pause_s(plant.cluster) <= 10.0
