"""The backend's contract, kept by every transport, by what chooses among them, and by a double.

And the shapes that Globus publishes for the calls that the adapter makes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import globus_sdk
import pytest
import pytest_asyncio
import responses
from globus_sdk.testing import get_response_set, load_response

from compute_functions.contract import GLOBUS_PAYLOAD_LIMIT
from resource_server.adapters.direct import DirectBackend, DirectClients
from resource_server.adapters.globus_compute import GlobusComputeBackend, ServiceAddresses
from resource_server.adapters.globus_compute.credentials import ClientCredentials
from resource_server.adapters.globus_compute.failures import CallFailed, Fate
from resource_server.adapters.globus_compute.messages import read_record
from resource_server.adapters.globus_compute.service import ComputeService, Submission
from resource_server.adapters.hub import HubBackend, HubConnection, HubServer
from resource_server.adapters.transports import Transports
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, Transport
from resource_server.domain.inference import InferenceRequest
from resource_server.ports import InferenceBackend
from tests.support.carriers import CarrierThatServesNobody
from tests.support.compute_double import ComputeDouble
from tests.support.compute_site import FRAMEWORK, MODEL, EngineThatEchoes, compute_site
from tests.support.direct_engines import cluster_at, engine_at
from tests.support.doubles import BackendThatEchoes, BackendThatIsAway
from tests.support.eventually import eventually
from tests.support.gateway import SiteThatReports
from tests.support.local_globus import LocalGlobus
from tests.support.relay_double import echoing
from tests.support.relay_hub import cluster_of, relay_hub
from tests.support.relay_site import RelaySite, catalog_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """A backend and a cluster whose engine answers with what it was sent."""

    backend: InferenceBackend
    cluster: Cluster
    transport: str = "task"


def asking(body: bytes = b'{"n": 1}', *, timeout_s: float = 60.0) -> InferenceRequest:
    return InferenceRequest(
        request_id=secrets.token_hex(4),
        framework=FRAMEWORK,
        model=MODEL,
        path="/v1/chat/completions",
        body=body,
        timeout_s=timeout_s,
    )


@asynccontextmanager
async def real() -> AsyncIterator[Reachable]:
    async with LocalGlobus(limits=True) as globus, compute_site(globus) as site:
        addresses = ServiceAddresses(auth=globus.auth_url, compute=globus.url)
        async with GlobusComputeBackend(site.clients, addresses=addresses) as backend:
            yield Reachable(backend=backend, cluster=site.cluster())


@asynccontextmanager
async def double() -> AsyncIterator[Reachable]:
    cluster = ComputeDouble(Path()).cluster()
    yield Reachable(backend=BackendThatEchoes(), cluster=cluster)


@asynccontextmanager
async def behind_a_hub(
    reached: AbstractAsyncContextManager[Reachable],
) -> AsyncIterator[Reachable]:
    """Reach what another way reaches as a web process of several does."""
    # A name short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        address = Path(folder) / "run" / "hub.sock"
        async with (
            reached as behind,
            HubServer(behind.backend, SiteThatReports(), address),
            HubConnection(address) as connection,
            HubBackend(connection) as backend,
        ):
            yield Reachable(backend=backend, cluster=behind.cluster)


def through_the_hub() -> AbstractAsyncContextManager[Reachable]:
    return behind_a_hub(double())


@asynccontextmanager
async def relayed() -> AsyncIterator[Reachable]:
    """Reach an instance whose relay has dialled in."""
    site = RelaySite.enrolled()
    with tempfile.TemporaryDirectory() as folder:
        async with relay_hub(catalog_of(site), Path(folder)) as hub:
            relay = await hub.dialler.dial(site.credential(model=MODEL))
            await relay.hello()
            async with echoing(relay):
                yield Reachable(backend=hub.backend, cluster=cluster_of(site), transport="relay")


@asynccontextmanager
async def directly() -> AsyncIterator[Reachable]:
    async with engine_at(EngineThatEchoes()) as url, DirectClients() as clients:
        backend = DirectBackend(clients)
        yield Reachable(backend=backend, cluster=cluster_at(url), transport=Transport.DIRECT.value)


@asynccontextmanager
async def by_preference() -> AsyncIterator[Reachable]:
    """Reach the engine on the second of two ways, as the first one is not open."""
    async with engine_at(EngineThatEchoes()) as url, DirectClients() as clients:
        direct = DirectBackend(clients)
        backend = Transports({Transport.TASK: CarrierThatServesNobody(), Transport.DIRECT: direct})
        cluster = replace(cluster_at(url), transports=(Transport.TASK, Transport.DIRECT))
        yield Reachable(backend=backend, cluster=cluster, transport=Transport.DIRECT.value)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[real, double, through_the_hub, relayed, directly, by_preference],
)
async def reachable(request: pytest.FixtureRequest) -> AsyncIterator[Reachable]:
    async with request.param() as reachable:
        yield reachable


async def test_an_answer_is_the_engine_s_byte_for_byte(reachable: Reachable) -> None:
    body = '{"text": "Grüße  🚀",\n"n":   [1, 2]}'.encode()
    answer = await reachable.backend.infer(reachable.cluster, asking(body))
    assert (answer.status, answer.body) == (200, body)
    assert answer.content_type.startswith("application/json")


async def test_an_answer_says_how_it_came(reachable: Reachable) -> None:
    answer = await reachable.backend.infer(reachable.cluster, asking())
    assert answer.transport == reachable.transport
    assert bool(answer.task_id) is (reachable.transport == "task")
    hops = answer.hops
    assert min(hops.queue_s, hops.transport_s, hops.site_s, hops.engine_s) >= 0
    assert hops.engine_s > 0


async def test_each_request_gets_its_own_answer(reachable: Reachable) -> None:
    bodies = [json.dumps({"n": n}).encode() for n in range(50)]
    calls = [reachable.backend.infer(reachable.cluster, asking(body)) for body in bodies]
    answers = await asyncio.gather(*calls)
    assert [answer.body for answer in answers] == bodies
    if reachable.transport == "task":
        assert len({answer.task_id for answer in answers}) == 50


async def test_a_large_body_makes_the_way_there_and_back(reachable: Reachable) -> None:
    body = json.dumps({"text": "a large prompt " * 400_000}).encode()
    answer = await reachable.backend.infer(reachable.cluster, asking(body))
    assert answer.body == body


@pytest.mark.row("C-57")
async def test_a_body_over_the_limit_is_refused_with_the_limit(reachable: Reachable) -> None:
    if reachable.transport != "task":
        pytest.skip("only Globus Compute has a limit below the gateway's own")
    body = json.dumps({"image": secrets.token_urlsafe(9_000_000)}).encode()
    with pytest.raises(errors.PayloadTooLarge) as caught:
        await reachable.backend.infer(reachable.cluster, asking(body))
    assert caught.value.limit_bytes == GLOBUS_PAYLOAD_LIMIT


@asynccontextmanager
async def real_away(folder: Path) -> AsyncIterator[Reachable]:
    async with ComputeDouble(folder) as service:
        service.endpoint_state = "offline"
        async with GlobusComputeBackend(folder, addresses=service.addresses) as backend:
            yield Reachable(backend=backend, cluster=service.cluster())


@asynccontextmanager
async def double_away(folder: Path) -> AsyncIterator[Reachable]:
    yield Reachable(backend=BackendThatIsAway(), cluster=ComputeDouble(folder).cluster())


def away_behind_the_hub(folder: Path) -> AbstractAsyncContextManager[Reachable]:
    return behind_a_hub(real_away(folder))


@asynccontextmanager
async def relay_away(folder: Path) -> AsyncIterator[Reachable]:
    """Have a link that was cut a moment ago."""
    site = RelaySite.enrolled()
    async with relay_hub(catalog_of(site), folder) as hub:
        relay = await hub.dialler.dial(site.credential(model=MODEL))
        await relay.hello()
        relay.cut()
        await eventually(lambda: [link.state for link in hub.links] == ["parked"])
        yield Reachable(backend=hub.backend, cluster=cluster_of(site))


@pytest.mark.parametrize("away", [real_away, double_away, away_behind_the_hub, relay_away])
async def test_a_cluster_that_is_away_is_named(away: Any, tmp_path: Path) -> None:
    async with away(tmp_path) as unreachable:
        with pytest.raises(errors.BackendUnavailable) as caught:
            await unreachable.backend.infer(unreachable.cluster, asking(timeout_s=3))
    assert unreachable.cluster.name in caught.value.message


# What Globus publishes as its answers, in `globus_sdk.testing`.


TOKEN_URL = "https://auth.globus.org/v2/oauth2/token"
V2, V3 = globus_sdk.ComputeClientV2, globus_sdk.ComputeClientV3


@pytest.fixture
def service() -> Iterator[ComputeService]:
    credentials = ClientCredentials(name="c", client_id="id", client_secret="secret")
    with responses.mock:
        load_response(globus_sdk.ConfidentialAppAuthClient.oauth2_client_credentials_tokens)
        service = ComputeService(credentials, ServiceAddresses())
        yield service
        service.close()
    responses.reset()


def submission(endpoint_id: str, function_id: str, tasks: int) -> Submission:
    return Submission(
        endpoint_id=endpoint_id,
        user_endpoint_config={},
        arguments={function_id: [{"n": n} for n in range(tasks)]},
        group=None,
    )


async def test_the_published_receipt_is_understood(service: ComputeService) -> None:
    published = load_response(V3.submit).metadata
    receipt = service.submit(submission(published["endpoint_id"], published["function_id"], 2))
    assert receipt.group == published["task_group_id"]
    assert receipt.tasks == {
        published["function_id"]: [published["task_id"], published["task_id_2"]]
    }


async def test_a_new_secret_is_read_when_the_old_one_is_refused(tmp_path: Path) -> None:
    def write(secret: str) -> None:
        file = tmp_path / "c.json"
        file.write_text(json.dumps({"client_id": "id", "client_secret": secret}))
        file.chmod(0o600)

    write("old")
    with responses.mock as globus:
        for _ in range(2):
            globus.post(TOKEN_URL, status=401, json={"error": "invalid_client"})
        load_response(globus_sdk.ConfidentialAppAuthClient.oauth2_client_credentials_tokens)
        load_response(V2.get_result_amqp_url)
        service = ComputeService(ClientCredentials.read(tmp_path, "c"), ServiceAddresses())
        with pytest.raises(CallFailed) as caught:
            service.queue_address()
        write("new")
        service.queue_address()
        service.close()
        used = [
            base64.b64decode(call.request.headers["Authorization"].split()[1]).decode()
            for call in globus.calls
            if call.request.url == TOKEN_URL
        ]
    responses.reset()
    assert caught.value.fate is Fate.REFUSED
    assert used == ["id:old", "id:old", "id:new"]


async def test_a_receipt_for_other_tasks_is_not_believed(service: ComputeService) -> None:
    published = load_response(V3.submit).metadata
    with pytest.raises(CallFailed) as caught:
        service.submit(submission(published["endpoint_id"], published["function_id"], 3))
    assert caught.value.fate is Fate.UNKNOWN


async def test_the_published_queue_address_is_understood(service: ComputeService) -> None:
    example: Any = get_response_set(V2.get_result_amqp_url).lookup("default")
    published = example.json
    load_response(V2.get_result_amqp_url)
    address = service.queue_address()
    assert (address.prefix, address.url) == (
        published["queue_prefix"],
        published["connection_url"],
    )
    assert "password" not in repr(address)


async def test_the_published_endpoint_status_is_understood(service: ComputeService) -> None:
    published = load_response(V2.get_endpoint_status).metadata
    assert service.endpoint_status(published["endpoint_id"]) == "online"


async def test_the_published_task_records_are_understood(service: ComputeService) -> None:
    task_id = load_response(V2.get_task_batch).metadata["task_id"]
    record = service.task_records([task_id])[task_id]
    result = read_record(task_id, record)
    assert result is not None
    assert result.task_id == task_id
