"""Requests over the real agent: crowds, timeouts, restarts, within the service's limits."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from structlog.typing import EventDict

from compute_functions.contract import InstanceState
from lab.system.rabbitmq import Rabbitmq, rabbitmq
from resource_server.adapters.globus_compute import (
    GlobusComputeBackend,
    GlobusComputeSites,
    ServiceAddresses,
)
from resource_server.adapters.globus_compute.results import Link
from resource_server.domain import errors
from resource_server.domain.inference import InferenceAnswer, InferenceRequest
from tests.support.compute_site import FRAMEWORK, MODEL, ComputeSite, compute_site
from tests.support.eventually import eventually, eventually_so
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


class Way:
    """Everything between the gateway's port and the engine, with the service's limits on."""

    def __init__(self, globus: LocalGlobus, site: ComputeSite) -> None:
        self.globus = globus
        self.site = site
        addresses = ServiceAddresses(auth=globus.auth_url, compute=globus.url)
        self.backend = GlobusComputeBackend(site.clients, addresses=addresses)

    async def infer(
        self, body: dict[str, object], *, timeout_s: float = 60.0, model: str = MODEL
    ) -> InferenceAnswer:
        """Carry one request with such a body."""
        request = InferenceRequest(
            request_id="r",
            framework=FRAMEWORK,
            model=model,
            path="/v1/chat/completions",
            body=json.dumps(body).encode(),
            timeout_s=timeout_s,
        )
        return await self.backend.infer(self.site.cluster(), request)

    async def is_there(self) -> bool:
        """Whether a request arrives: what was just restarted counts as offline for a while."""
        try:
            await self.infer({"n": "there"})
        except errors.BackendUnavailable:
            return False
        return True


@asynccontextmanager
async def open_way(amqp_url: str | None = None) -> AsyncIterator[Way]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as state:
        async with (
            LocalGlobus(Path(state), limits=True, amqp_url=amqp_url) as globus,
            compute_site(globus) as site,
        ):
            way = Way(globus, site)
            async with way.backend:
                yield way


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way() -> AsyncIterator[Way]:
    async with open_way() as way:
        yield way


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rabbitmq]:
    async with rabbitmq(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way_over_rabbitmq(broker: Rabbitmq) -> AsyncIterator[Way]:
    async with open_way(broker.url) as way:
        yield way


def failed_submissions(logs: list[EventDict]) -> list[EventDict]:
    return [entry for entry in logs if entry["event"] == "globus_submission_failed"]


@pytest.mark.row("C-21")
@pytest.mark.row("C-56")
async def test_a_crowd_is_answered_within_the_service_s_limits(way: Way) -> None:
    """Twenty callers, each with fifteen requests one after the other: a steady flood."""

    async def caller(name: int) -> list[bytes]:
        return [(await way.infer({"caller": name, "n": n})).body for n in range(15)]

    with capture_logs() as logs:
        answers = await asyncio.gather(*(caller(name) for name in range(20)))
    assert answers == [
        [json.dumps({"caller": name, "n": n}).encode() for n in range(15)] for name in range(20)
    ]
    assert failed_submissions(logs) == []
    submissions = [entry for entry in logs if entry["event"] == "globus_submitted"]
    assert sum(entry["tasks"] for entry in submissions) == 300


async def test_a_burst_is_few_submissions(way: Way) -> None:
    with capture_logs() as logs:
        answers = await asyncio.gather(*(way.infer({"n": n}) for n in range(200)))
    assert [json.loads(answer.body)["n"] for answer in answers] == list(range(200))
    assert failed_submissions(logs) == []
    assert len([entry for entry in logs if entry["event"] == "globus_submitted"]) <= 3


async def test_one_request_times_out_alone(way: Way) -> None:
    way.site.engine.hold()
    hasty = asyncio.create_task(way.infer({"hold": True}, timeout_s=3.0))
    others = [asyncio.create_task(way.infer({"n": n})) for n in range(20)]
    with pytest.raises(errors.BackendTimeout) as caught:
        await hasty
    assert vars(caught.value)["task_id"]
    assert [json.loads((await other).body)["n"] for other in others] == list(range(20))
    way.site.engine.release()


async def test_an_engine_s_error_is_an_answer(way: Way) -> None:
    answer = await way.infer({"status": 429, "error": "busy"})
    assert (answer.status, json.loads(answer.body)["error"]) == (429, "busy")


async def test_a_model_that_does_not_run_is_named(way: Way) -> None:
    with pytest.raises(errors.ModelNotRunning, match="/jobs") as caught:
        await way.infer({}, model="not-loaded")
    assert vars(caught.value)["task_id"]


async def test_a_site_says_what_it_runs(way: Way) -> None:
    # Another test may just have restarted the service, or the site.
    await eventually_so(way.is_there, seconds=60, every_s=0.5)
    sites = GlobusComputeSites(way.backend)
    with capture_logs() as logs:
        seen = await asyncio.gather(*(sites.observe(way.site.cluster()) for _ in range(10)))
    (instance,) = seen[0].instances
    assert (instance.model, instance.state) == (MODEL, InstanceState.READY)
    assert len({id(observation) for observation in seen}) == 1
    assert len([entry for entry in logs if entry["event"] == "globus_submitted"]) == 1


async def test_a_request_survives_a_restart_of_the_service(way: Way) -> None:
    way.site.engine.hold()
    held = asyncio.create_task(way.infer({"hold": True}, timeout_s=120.0))
    await asyncio.wait_for(way.site.engine.held.wait(), 60)
    await way.globus.__aexit__()
    await eventually(lambda: way.backend.probe()[0].link is Link.CONNECTING)
    during = asyncio.create_task(way.infer({"n": "during"}, timeout_s=120.0))
    await way.globus.__aenter__()
    way.site.engine.release()
    assert json.loads((await held).body) == {"hold": True}
    assert json.loads((await during).body) == {"n": "during"}


async def test_a_site_that_is_stopped_is_offline_until_it_is_back(way: Way) -> None:
    await way.site.endpoint.stop()
    gone = Way(way.globus, way.site)  # It has not asked for the endpoint's state lately.
    async with gone.backend:
        with pytest.raises(errors.BackendUnavailable, match="offline"):
            await gone.infer({"n": 1}, timeout_s=3.0)
    await way.site.endpoint.start()
    back = Way(way.globus, way.site)
    async with back.backend:
        assert json.loads((await back.infer({"n": 2})).body) == {"n": 2}


async def test_a_crowd_is_answered_over_rabbitmq(way_over_rabbitmq: Way) -> None:
    with capture_logs() as logs:
        answers = await asyncio.gather(*(way_over_rabbitmq.infer({"n": n}) for n in range(50)))
    assert [json.loads(answer.body)["n"] for answer in answers] == list(range(50))
    assert failed_submissions(logs) == []


async def test_a_request_survives_a_restart_of_rabbitmq(
    way_over_rabbitmq: Way, broker: Rabbitmq
) -> None:
    way = way_over_rabbitmq
    way.site.engine.hold()
    held = asyncio.create_task(way.infer({"hold": True}, timeout_s=120.0))
    await asyncio.wait_for(way.site.engine.held.wait(), 60)
    await broker.stop()
    await eventually(lambda: way.backend.probe()[0].link is Link.CONNECTING)
    way.site.engine.release()  # The result comes while nobody takes it.
    # The service says 503, after which nobody knows whether it took the task.
    with pytest.raises(errors.BackendUnavailable, match="did not confirm"):
        await way.infer({"n": "during"})
    await broker.start()
    assert json.loads((await held).body) == {"hold": True}
    assert json.loads((await way.infer({"n": "after"})).body) == {"n": "after"}
