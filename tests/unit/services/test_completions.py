from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.api.json_body import JsonBody
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster, Modality
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late, Usage
from resource_server.domain.limits import Measure, Standing
from resource_server.domain.routing import Base
from resource_server.ports import RequestBody
from resource_server.services.completions import CompletionRequest, Completions, UsageReaders
from resource_server.services.sessions import CacheSalts
from tests.support.catalogs import cluster, members, model
from tests.support.doubles import person

ALICE = person("alice@example.org")
BODY = b'{"model": "a/b",  "messages": []}'
REQUEST = CompletionRequest(
    request_id="req_1",
    base=Base(cluster="local", framework="vllm"),
    route="chat/completions",
    body=JsonBody(BODY),
)
ANSWER = InferenceAnswer(
    status=200,
    body=b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}',
    content_type="application/json",
    transport="task",
    hops=Hops(),
)
STANDING = Standing(measure=Measure.REQUESTS, limit=10, remaining=9, reset_s=6.0)


class BackendThatRecords:
    """Keeps what it was asked; answers, or raises what the cluster's name is good for."""

    def __init__(self, answer: InferenceAnswer = ANSWER, **failures: errors.HotnodeError) -> None:
        self.asked: list[InferenceRequest] = []
        self.clusters: list[str] = []
        self.answer = answer
        self.failures = failures

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        self.clusters.append(cluster.name)
        if cluster.name in self.failures:
            raise self.failures[cluster.name]
        return self.answer


class BackendThatIsLate:
    """Never answers a caller who waits; answers `late` as soon as one has left."""

    def __init__(self, answer: InferenceAnswer | None) -> None:
        self.answer = answer
        self.asked = asyncio.Event()

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if late is not None:
                asyncio.get_running_loop().call_soon(late, self.answer)
            raise
        raise AssertionError("nobody sets this event")


class AdmissionThatRecords:
    """A place that says when it was given back, and what was used."""

    def __init__(self) -> None:
        self.standings = (STANDING,)
        self.usage: Usage | None = None
        self.ended = asyncio.Event()
        self.outlives = False

    def use(self, usage: Usage | None) -> None:
        self.usage = usage

    def outlive(self) -> None:
        self.outlives = True

    def end(self) -> None:
        self.ended.set()


class LimitsThatAdmit:
    """Let everybody in and keep the admissions."""

    def __init__(self) -> None:
        self.admissions: list[AdmissionThatRecords] = []

    @asynccontextmanager
    async def admitted(self, *_: object, **__: object) -> AsyncIterator[AdmissionThatRecords]:
        admission = AdmissionThatRecords()
        self.admissions.append(admission)
        try:
            yield admission
        finally:
            if not admission.outlives:
                admission.end()


class ImagesThatMark:
    """Marks the bodies that were looked through for images."""

    async def inlined(self, body: RequestBody) -> RequestBody:
        return body.replaced({"marked": True})


@pytest.fixture
def backend() -> BackendThatRecords:
    return BackendThatRecords()


@pytest.fixture
def limits() -> LimitsThatAdmit:
    return LimitsThatAdmit()


def completions(backend, *catalog, limits=None) -> Completions:
    # Of `Limits`, completions ask for admissions alone.
    admitting: Any = limits or LimitsThatAdmit()
    snapshot = Catalog(*(catalog or ([cluster()], [model()])))
    return Completions(
        lambda: snapshot,
        backend,
        limits=admitting,
        images=ImagesThatMark(),
        usage=UsageReaders(answer=read_usage, event=read_event_usage),
        salts=CacheSalts(b"k" * 32),
        streams=WholeStreamMaker(),
    )


async def test_the_body_reaches_the_backend_byte_for_byte(backend):
    completion = await completions(backend).complete(ALICE, REQUEST)
    assert completion.answer is ANSWER
    [asked] = backend.asked
    assert asked.body is BODY
    assert (asked.framework, asked.model, asked.path) == ("vllm", "a/b", "/v1/chat/completions")
    assert 16 < asked.timeout_s <= 17
    assert asked.headers["content-type"] == "application/json"


async def test_the_completion_says_where_it_came_from_and_what_it_cost(backend):
    completion = await completions(backend).complete(ALICE, REQUEST)
    assert completion.usage == Usage(input_tokens=3, output_tokens=4)
    assert completion.destination.cluster.name == "local"
    assert completion.standings == (STANDING,)


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_an_engine_s_error_is_an_answer(status):
    backend = BackendThatRecords(replace(ANSWER, status=status))
    assert (await completions(backend).complete(ALICE, REQUEST)).answer.status == status


@pytest.mark.parametrize("status", [401, 403])
async def test_an_engine_that_refuses_the_site_s_key_is_not_the_caller_s_fault(status):
    backend = BackendThatRecords(replace(ANSWER, status=status))
    with pytest.raises(errors.BackendUnavailable):
        await completions(backend).complete(ALICE, REQUEST)


def asking(body: bytes, **change: Any) -> CompletionRequest:
    return replace(REQUEST, body=JsonBody(body), **change)


@pytest.mark.parametrize(
    ("request_", "error", "param"),
    [
        (replace(REQUEST, base=Base(cluster="x", framework="vllm")), errors.ClusterNotFound, None),
        (asking(b'{"model": "x"}'), errors.ModelNotFound, "model"),
        (replace(REQUEST, route="embeddings"), errors.RouteNotServed, "model"),
        (asking(b'{"model": "a/b", "cache_salt": 1}'), errors.ReservedField, "cache_salt"),
        (asking(b'{"model": "a/b", "priority": 1}'), errors.ReservedField, "priority"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_anything_is_sent(
    backend, request_, error, param
):
    with pytest.raises(error) as refused:
        await completions(backend).complete(ALICE, request_)
    assert refused.value.param == param
    assert backend.asked == []


async def test_the_wrong_route_names_the_right_ones(backend):
    embedder = model(routes=("embeddings", "rerank"))
    with pytest.raises(errors.RouteNotServed, match="/v1/embeddings, /v1/rerank"):
        await completions(backend, [cluster()], [embedder]).complete(ALICE, REQUEST)


async def test_a_private_model_is_absent_to_others(backend):
    private = model(access=members("group-1"))
    with pytest.raises(errors.ModelNotFound):
        await completions(backend, [cluster()], [private]).complete(ALICE, REQUEST)
    assert backend.asked == []


async def test_maintenance_is_said_with_its_reason(backend):
    closed = cluster(maintenance="back at 18:00")
    with pytest.raises(errors.BackendUnavailable, match="18:00"):
        await completions(backend, [closed], [model()]).complete(ALICE, REQUEST)


@pytest.mark.row("U-7")
async def test_an_alias_is_asked_for_under_the_model_s_id_with_its_parameters(backend):
    thinking = model(aliases={"quiet": {"chat_template_kwargs": {"enable_thinking": False}}})
    service = completions(backend, [cluster()], [thinking])
    completion = await service.complete(ALICE, asking(b'{"model":"quiet","n":1.50}'))
    assert json.loads(backend.asked[0].body) == {
        "model": "a/b",
        "n": 1.5,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert b"1.50" in backend.asked[0].body
    assert completion.named.name == "quiet"


async def test_the_next_place_is_tried_if_nothing_ran_at_the_first():
    backend = BackendThatRecords(x=errors.ModelNotRunning())
    service = completions(backend, [cluster("x"), cluster("y")], [model("a/b", "x", "y")])
    completion = await service.complete(ALICE, replace(REQUEST, base=Base()))
    assert backend.clusters == ["x", "y"]
    assert completion.destination.cluster.name == "y"


async def test_a_request_that_may_have_run_is_sent_nowhere_else():
    backend = BackendThatRecords(x=errors.BackendTimeout())
    service = completions(backend, [cluster("x"), cluster("y")], [model("a/b", "x", "y")])
    with pytest.raises(errors.BackendTimeout):
        await service.complete(ALICE, replace(REQUEST, base=Base()))
    assert backend.clusters == ["x"]


def lost() -> errors.BackendInterrupted:
    error = errors.BackendInterrupted("The node is gone.")
    error.lost_unanswered = True
    return error


async def test_what_was_lost_before_it_was_answered_is_asked_at_the_next_place():
    backend = BackendThatRecords(x=lost())
    service = completions(backend, [cluster("x"), cluster("y")], [model("a/b", "x", "y")])
    completion = await service.complete(ALICE, replace(REQUEST, base=Base()))
    assert completion.destination.cluster.name == "y"


async def test_it_is_not_asked_at_a_third_one():
    backend = BackendThatRecords(x=lost(), y=lost())
    clusters = [cluster("x"), cluster("y"), cluster("z")]
    service = completions(backend, clusters, [model("a/b", "x", "y", "z")])
    with pytest.raises(errors.BackendInterrupted, match="at two instances"):
        await service.complete(ALICE, replace(REQUEST, base=Base()))
    assert backend.clusters == ["x", "y"]


@pytest.mark.parametrize("refusal", [errors.ModelNotRunning, errors.BackendUnavailable])
async def test_a_second_place_that_does_not_take_it_invites_nobody_to_repeat_it(refusal):
    """It may have run at the first."""
    second = refusal()
    second.retry_after_s = 30.0
    backend = BackendThatRecords(x=lost(), y=second)
    service = completions(backend, [cluster("x"), cluster("y")], [model("a/b", "x", "y")])
    with pytest.raises(errors.BackendInterrupted, match="The node is gone") as caught:
        await service.complete(ALICE, replace(REQUEST, base=Base()))
    assert caught.value.retry_after_s is None
    assert backend.clusters == ["x", "y"]


async def test_an_engine_s_error_is_not_tried_elsewhere():
    backend = BackendThatRecords(replace(ANSWER, status=503))
    service = completions(backend, [cluster("x"), cluster("y")], [model("a/b", "x", "y")])
    assert (await service.complete(ALICE, replace(REQUEST, base=Base()))).answer.status == 503
    assert backend.clusters == ["x"]


@pytest.mark.parametrize(
    ("modalities", "marked"), [((), False), ((Modality.IMAGE,), True), ((Modality.AUDIO,), True)]
)
async def test_addresses_are_looked_for_if_the_model_takes_more_than_text(
    backend, modalities, marked
):
    service = completions(backend, [cluster()], [model(modalities=modalities)])
    await service.complete(ALICE, REQUEST)
    assert ("marked" in json.loads(backend.asked[0].body)) is marked


async def test_a_failed_request_gives_its_place_back(limits):
    backend = BackendThatRecords(local=errors.BackendTimeout())
    with pytest.raises(errors.BackendTimeout):
        await completions(backend, limits=limits).complete(ALICE, REQUEST)
    assert limits.admissions[0].ended.is_set()


@pytest.mark.parametrize(
    ("answer", "usage"), [(ANSWER, Usage(input_tokens=3, output_tokens=4)), (None, None)]
)
async def test_a_caller_who_leaves_keeps_the_place_until_the_engine_is_done(limits, answer, usage):
    backend = BackendThatIsLate(answer)
    service = completions(backend, limits=limits)
    asked = asyncio.create_task(service.complete(ALICE, REQUEST))
    await backend.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    [admission] = limits.admissions
    assert admission.outlives
    await asyncio.wait_for(admission.ended.wait(), 5)
    assert admission.usage == usage
