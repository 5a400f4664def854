from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.api.json_body import JsonBody
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog, Cluster, StreamUsage, Transport
from resource_server.domain.inference import MOST_ANSWER, InferenceRequest, Usage
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.domain.limits import Claim, Standing
from resource_server.domain.routing import Base
from resource_server.services.completions import (
    Completion,
    CompletionRequest,
    Completions,
    OpenCompletion,
    UsageReaders,
)
from resource_server.services.events.under_way import MOST_COMMENTS
from resource_server.services.limits import Limits
from resource_server.services.sessions import CacheSalts
from tests.support.catalogs import FRAMEWORKS, cluster, model
from tests.support.doubles import ImagesThatAreNotAskedFor, person
from tests.support.streams import DONE, JSON_HEAD, BackendThatStreams, Chat, PacedStream

ALICE = person("alice@example.org")
BODY = b'{"model": "a/b", "messages": [{"role": "user", "content": "Hi"}], "stream": true}'
REQUEST = CompletionRequest(
    request_id="req_1", base=Base(), route="chat/completions", body=JsonBody(BODY)
)

RULES = LimitRules(defaults=(Allowance(tokens_per_minute=1000),))


class BackendWithClusters(BackendThatStreams):
    """Fails at some clusters."""

    def __init__(self, *steps: bytes, **failures: errors.HotnodeError) -> None:
        super().__init__(*steps)
        self.failures = failures

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> PacedStream:
        if cluster.name in self.failures:
            raise self.failures[cluster.name]
        return await super().stream(cluster, request)


class SettledLimits(MemoryLimitStore):
    """Knows the tokens of each request that was settled."""

    def __init__(self) -> None:
        super().__init__()
        self.charged: list[int] = []

    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        self.charged.append(tokens)
        return await super().settle(claim, tokens=tokens)


def completions(
    backend: BackendThatStreams,
    *clusters: Cluster,
    first_event_s: float = 10.0,
    store: MemoryLimitStore | None = None,
):
    clusters = clusters or (cluster(),)
    names = [place.name for place in clusters]
    catalog = Catalog(clusters, [model("a/b", *names, routes=("chat/completions", "messages"))])
    return Completions(
        lambda: catalog,
        backend,
        limits=Limits(store or MemoryLimitStore(), lambda: RULES),
        images=ImagesThatAreNotAskedFor(),
        usage=UsageReaders(answer=read_usage, event=read_event_usage),
        salts=CacheSalts(b"k" * 32),
        streams=WholeStreamMaker(),
        first_event_s=first_event_s,
    )


async def opened(service: Completions, request: CompletionRequest = REQUEST) -> OpenCompletion:
    stream = await service.stream(ALICE, request)
    assert isinstance(stream, OpenCompletion)
    return stream


async def test_the_next_place_is_tried_if_nothing_ran_at_the_first():
    backend = BackendWithClusters(DONE, x=errors.ModelNotRunning())
    stream = await opened(completions(backend, cluster("x"), cluster("y")))
    assert stream.destination.cluster.name == "y"
    assert await stream.first() == DONE
    await stream.aclose()


async def test_what_may_have_run_is_sent_nowhere_else_and_says_where_it_was():
    backend = BackendWithClusters(x=errors.BackendTimeout())
    with pytest.raises(errors.BackendTimeout) as failed:
        await completions(backend, cluster("x"), cluster("y")).stream(ALICE, REQUEST)
    assert failed.value.place == ("x", "vllm")
    assert backend.asked == []


async def test_an_early_end_says_where_it_was():
    with pytest.raises(errors.BackendInterrupted) as failed:
        await completions(BackendThatStreams()).stream(ALICE, REQUEST)
    assert failed.value.place == ("local", "vllm")


async def test_the_engine_is_asked_for_usage_and_for_nothing_else():
    backend = BackendThatStreams(DONE)
    await (await opened(completions(backend))).aclose()
    [asked] = backend.asked
    given = json.loads(asked.body)
    assert given.pop("stream_options") == {"include_usage": True, "continuous_usage_stats": True}
    assert given == json.loads(BODY)
    assert asked.affinity == ""


async def test_sessions_and_people_are_told_apart_where_that_is_of_use():
    salted = replace(FRAMEWORKS["vllm"], cache_salt=True)
    place = replace(cluster(), frameworks={"vllm": salted}, transports=(Transport.RELAY,))
    backend = BackendThatStreams(DONE)
    service = completions(backend, place)
    await (await opened(service)).aclose()
    await (await opened(service, replace(REQUEST, route="messages"))).aclose()
    chat, messages = backend.asked
    assert json.loads(chat.body)["cache_salt"] == CacheSalts(b"k" * 32).of(ALICE)
    assert "cache_salt" not in json.loads(messages.body)
    assert chat.affinity == messages.affinity != ""


async def test_a_late_first_event_is_waited_for_by_the_caller():
    go_on = asyncio.Event()
    stream = await opened(completions(BackendThatStreams(go_on, DONE), first_event_s=0.01))
    assert not stream.begun
    go_on.set()
    assert await stream.first() == DONE
    await stream.aclose()


async def test_who_leaves_before_the_first_event_closes_the_answer():
    backend = BackendThatStreams(asyncio.Event())
    asked = asyncio.create_task(completions(backend).stream(ALICE, REQUEST))
    await backend.opened.wait()
    asked.cancel()
    await asyncio.wait({asked})
    assert asked.cancelled()
    assert backend.streams[0].closed.is_set()


async def test_a_stream_closed_while_its_first_event_is_awaited_is_closed_for_good():
    backend = BackendThatStreams(asyncio.Event())
    stream = await opened(completions(backend, first_event_s=0.01))
    await stream.aclose()
    assert backend.streams[0].closed.is_set()


async def test_a_first_event_that_fails_when_nobody_listens_harms_nobody():
    go_on = asyncio.Event()
    backend = BackendThatStreams(go_on, errors.BackendInterrupted())
    stream = await opened(completions(backend, first_event_s=0.01))
    go_on.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stream.aclose()


async def test_a_whole_answer_has_an_end():
    part = b"x" * (MOST_ANSWER // 4)
    backend = BackendThatStreams(*[part] * 5, head=JSON_HEAD)
    with pytest.raises(errors.AnswerTooLarge, match="larger than 67108864 bytes"):
        await completions(backend).stream(ALICE, REQUEST)
    assert backend.streams[0].closed.is_set()


async def test_a_whole_answer_is_waited_for_no_longer_than_the_caller_would():
    impatient = replace(cluster(), request_timeout_s=0.05)
    backend = BackendThatStreams(b"{", asyncio.Event(), head=JSON_HEAD)
    with pytest.raises(errors.BackendTimeout):
        await completions(backend, impatient).stream(ALICE, REQUEST)


async def test_an_answer_in_one_piece_is_accounted_for():
    said = b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}'
    answer = await completions(BackendThatStreams(said, head=JSON_HEAD)).stream(ALICE, REQUEST)
    assert isinstance(answer, Completion)
    assert (answer.answer.body, answer.usage.total_tokens) == (said, 3)
    assert "usage" not in str(Chat().events())


REFUSAL = b'data: {"error": {"message": "no", "code": 400}}\n\n'


async def test_a_comment_is_no_first_event():
    backend = BackendThatStreams(b": ping\n\n", b": ping\n\n", REFUSAL)
    answer = await completions(backend).stream(ALICE, REQUEST)
    assert isinstance(answer, Completion)
    assert answer.answer.status == 400


async def test_comments_alone_do_not_begin_a_stream():
    go_on = asyncio.Event()
    backend = BackendThatStreams(b": ping\n\n", go_on, DONE)
    stream = await opened(completions(backend, first_event_s=0.01))
    assert not stream.begun
    go_on.set()
    assert await stream.first() == b": ping\n\n" + DONE
    await stream.aclose()


async def test_comments_before_the_first_event_fill_no_memory():
    comment = b": " + b"x" * (MOST_COMMENTS // 2) + b"\n\n"
    stream = await opened(completions(BackendThatStreams(*[comment] * 9, DONE)))
    assert await stream.first() == comment + DONE
    await stream.aclose()


async def test_an_engine_that_refuses_our_key_in_its_first_event_refuses_not_the_caller():
    backend = BackendThatStreams(REFUSAL.replace(b"400", b"401"))
    with pytest.raises(errors.BackendUnavailable):
        await completions(backend).stream(ALICE, REQUEST)
    assert backend.streams[0].closed.is_set()


async def test_who_leaves_an_engine_that_says_no_usage_is_charged_for_what_came():
    silent = replace(FRAMEWORKS["vllm"], stream_usage=StreamUsage.NONE)
    place = replace(cluster(), frameworks={"vllm": silent})
    store = SettledLimits()
    began = b"".join(Chat().events()[:3])
    service = completions(BackendThatStreams(began, asyncio.Event()), place, store=store)
    stream = await opened(service)
    await stream.first()
    await stream.aclose()
    assert stream.usage == Usage(output_tokens=2)
    assert store.charged == [2]
