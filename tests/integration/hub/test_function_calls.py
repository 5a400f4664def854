"""Calls of sites' functions through a hub: what the hub says comes out as it went in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from compute_functions.contract import JsonObject
from resource_server.adapters.hub import HubCalls, HubConnection, HubServer, messages
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from tests.support.catalogs import cluster
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import SiteThatReports

CLUSTER, FUNCTION = cluster("alpha"), SiteFunction.RUN_BATCH


class CallsThatEcho:
    """Give back what they are called with, or fail as a test says, or hold."""

    def __init__(self) -> None:
        self.error: errors.HotnodeError | None = None
        self.holds = False
        self.begun, self.left = asyncio.Event(), asyncio.Event()

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        self.begun.set()
        if self.error is not None:
            raise self.error
        try:
            if self.holds:
                await asyncio.Event().wait()
        finally:
            self.left.set()
        return {"cluster": cluster.name, "function": function.value, "wire": wire}

    def pause_s(self, cluster: Cluster) -> float:
        return 3.5


@asynccontextmanager
async def hub(address: Path, calls: CallsThatEcho | None) -> AsyncIterator[None]:
    async with HubServer(
        BackendThatEchoes(), SiteThatReports(), address, site_calls=calls, grace_s=5
    ):
        yield


async def test_calls_and_what_they_gave_cross_unchanged(
    address: Path, connection: HubConnection
) -> None:
    calls = HubCalls(connection)
    wire = {"text": "ä\u2028", "numbers": [1 << 80, -0.5, None], "much": "x" * 2_000_000}
    assert calls.pause_s(CLUSTER) == 10.0
    async with hub(address, CallsThatEcho()):
        given = await calls.call(CLUSTER, FUNCTION, wire)
    assert given == {"cluster": "alpha", "function": "run_batch", "wire": wire}
    assert calls.pause_s(CLUSTER) == 3.5
    assert calls.pause_s(cluster("beta")) == 10.0


@pytest.mark.parametrize(
    "error",
    [
        errors.BackendUnavailable("away"),
        errors.BackendInterrupted("lost"),
        errors.BackendTimeout("late"),
        errors.AnswerTooLarge("much"),
    ],
)
async def test_an_error_comes_out_as_it_went_in(
    address: Path, connection: HubConnection, error: errors.UpstreamError
) -> None:
    behind = CallsThatEcho()
    behind.error = error
    async with hub(address, behind):
        with pytest.raises(type(error), match=error.message):
            await HubCalls(connection).call(CLUSTER, FUNCTION, {})


async def test_without_a_hub_the_site_does_not_answer(connection: HubConnection) -> None:
    with pytest.raises(errors.BackendUnavailable):
        await HubCalls(connection).call(CLUSTER, FUNCTION, {})


async def test_a_hub_without_a_way_says_so(address: Path, connection: HubConnection) -> None:
    async with hub(address, None):
        with pytest.raises(errors.BackendUnavailable):
            await HubCalls(connection).call(CLUSTER, FUNCTION, {})


async def test_a_process_that_leaves_takes_its_calls_along(address: Path) -> None:
    behind = CallsThatEcho()
    behind.holds = True
    async with hub(address, behind):
        async with HubConnection(address) as connection:
            task = asyncio.create_task(HubCalls(connection).call(CLUSTER, FUNCTION, {}))
            await behind.begun.wait()
            task.cancel()
            await asyncio.wait({task})
        async with asyncio.timeout(20):
            await behind.left.wait()


async def test_a_process_of_another_version_is_refused(address: Path) -> None:
    async with (
        hub(address, CallsThatEcho()),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(address))) as session,
        session.post(
            f"http://hub{messages.CALL}", headers={messages.VERSION_HEADER: "4 hotnode/0"}
        ) as refused,
    ):
        assert refused.status == 409
