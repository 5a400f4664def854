from __future__ import annotations

from dataclasses import replace

import pytest

from resource_server.domain import errors
from resource_server.domain.catalog import (
    AccessRule,
    Catalog,
    Cluster,
    Deployment,
    Framework,
    GlobusComputeTarget,
    Model,
    Transport,
)
from resource_server.domain.identity import Identity, Person
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest
from resource_server.services.completions import CompletionRequest, Completions

GROUP = "group-1"
BODY = b'{"model": "a/b",  "messages": []}'
CLUSTER = Cluster(
    name="local",
    description="",
    frameworks={"vllm": Framework(name="vllm", reserved_fields=frozenset({"priority"}))},
    transports=(Transport.TASK,),
    globus_compute=GlobusComputeTarget(client="local", endpoint_id="e", functions={}),
    request_timeout_s=17,
)
MODEL = Model(
    id="a/b",
    description="",
    owned_by="a",
    created=0,
    deployments=(Deployment(cluster="local", framework="vllm"),),
    routes=("chat/completions",),
)
ALICE = Person(
    primary=Identity(id="1", username="alice@example.org", idp_id="i", idp_name=""),
    name="Alice",
    email="",
)
REQUEST = CompletionRequest(
    request_id="req_1",
    cluster="local",
    framework="vllm",
    route="chat/completions",
    model="a/b",
    stream=False,
    fields=frozenset({"model", "messages"}),
    body=BODY,
)


class BackendThatRecords:
    """Keeps what it was asked and gives one answer."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[InferenceRequest] = []
        self.answer = InferenceAnswer(
            status=status,
            body=b"{}",
            content_type="application/json",
            transport="task",
            hops=Hops(),
        )

    async def infer(self, cluster: Cluster, request: InferenceRequest) -> InferenceAnswer:
        self.asked.append(request)
        return self.answer


@pytest.fixture
def backend() -> BackendThatRecords:
    return BackendThatRecords()


def completions(backend, *, cluster=CLUSTER, model=MODEL) -> Completions:
    catalog = Catalog([cluster], [model])
    return Completions(lambda: catalog, backend)


async def test_the_body_reaches_the_backend_byte_for_byte(backend):
    answer = await completions(backend).complete(ALICE, REQUEST)
    assert answer is backend.answer
    [asked] = backend.asked
    assert asked.body is BODY
    assert (asked.framework, asked.model, asked.path) == ("vllm", "a/b", "/v1/chat/completions")
    assert asked.timeout_s == 17


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_an_engine_s_error_is_an_answer(status):
    backend = BackendThatRecords(status)
    assert (await completions(backend).complete(ALICE, REQUEST)).status == status


@pytest.mark.parametrize("status", [401, 403])
async def test_an_engine_that_refuses_the_site_s_key_is_not_the_caller_s_fault(status):
    with pytest.raises(errors.BackendUnavailable):
        await completions(BackendThatRecords(status)).complete(ALICE, REQUEST)


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"cluster": "x"}, errors.ClusterNotFound, None),
        ({"framework": "x"}, errors.FrameworkNotFound, None),
        ({"model": "x"}, errors.ModelNotFound, "model"),
        ({"route": "completions"}, errors.RouteNotServed, "model"),
        ({"stream": True}, errors.StreamingUnsupported, "stream"),
        ({"fields": frozenset({"model", "cache_salt"})}, errors.ReservedField, "cache_salt"),
        ({"fields": frozenset({"model", "priority"})}, errors.ReservedField, "priority"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_anything_is_sent(
    backend, change, error, param
):
    with pytest.raises(error) as refused:
        await completions(backend).complete(ALICE, replace(REQUEST, **change))
    assert refused.value.param == param
    assert backend.asked == []


async def test_a_closed_cluster_is_refused_to_others(backend):
    closed = replace(CLUSTER, access=AccessRule(groups=frozenset({GROUP})))
    with pytest.raises(errors.Forbidden, match=GROUP):
        await completions(backend, cluster=closed).complete(ALICE, REQUEST)
    member = replace(ALICE, groups=frozenset({GROUP}))
    assert await completions(backend, cluster=closed).complete(member, REQUEST)


async def test_a_private_model_is_absent_to_others(backend):
    private = replace(MODEL, access=AccessRule(groups=frozenset({GROUP})))
    with pytest.raises(errors.ModelNotFound):
        await completions(backend, model=private).complete(ALICE, REQUEST)
    assert backend.asked == []


async def test_maintenance_is_said_with_its_reason(backend):
    closed = replace(CLUSTER, maintenance="back at 18:00")
    with pytest.raises(errors.BackendUnavailable, match="18:00"):
        await completions(backend, cluster=closed).complete(ALICE, REQUEST)
