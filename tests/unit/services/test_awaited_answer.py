"""Streams from places that bring answers in one piece alone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from typing_extensions import override

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.adapters.whole_streams import WholeStreamMaker
from resource_server.api.json_body import JsonBody
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.domain.inference import (
    InferenceAnswer,
    LateAnswer,
)
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
from resource_server.services.limits import Limits
from resource_server.services.pending_completion import PendingCompletion
from resource_server.services.sessions import CacheSalts
from tests.support.catalogs import cluster, model
from tests.support.doubles import ImagesThatAreNotAskedFor, person
from tests.support.eventually import eventually
from tests.support.whole_places import PlaceWithoutEgress, answer

ALICE = person("alice@example.org")
ROUTES = ("chat/completions", "messages", "responses")
REQUEST = CompletionRequest(
    request_id="req_1",
    base=Base(),
    route="chat/completions",
    body=JsonBody(b'{"model": "a/b", "messages": [], "stream": true}'),
)
RULES = LimitRules(defaults=(Allowance(concurrent_requests=1, tokens_per_minute=1000),))


class Ledger(MemoryLimitStore):
    """Knows what was charged."""

    def __init__(self) -> None:
        super().__init__()
        self.charged: list[int] = []

    @override
    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        self.charged.append(tokens)
        return await super().settle(claim, tokens=tokens)


class Service:
    """Completions before such a place, and its accounts."""

    def __init__(self, place: PlaceWithoutEgress, *, first_event_s: float = 0.01) -> None:
        self.place = place
        self.ledger = Ledger()
        self.late: list[LateAnswer] = []
        catalog = Catalog([cluster()], [model("a/b", cluster().name, routes=ROUTES)])
        self._completions = Completions(
            lambda: catalog,
            place,
            limits=Limits(self.ledger, lambda: RULES),
            images=ImagesThatAreNotAskedFor(),
            usage=UsageReaders(answer=read_usage, event=read_event_usage),
            salts=CacheSalts(b"k" * 32),
            streams=WholeStreamMaker(),
            observe_late=self.late.append,
            first_event_s=first_event_s,
        )

    async def ask(
        self, route: str = "chat/completions"
    ) -> OpenCompletion | Completion | PendingCompletion:
        return await self._completions.stream(ALICE, replace(REQUEST, route=route))

    async def opened(self, route: str = "chat/completions") -> OpenCompletion:
        stream = await self.ask(route)
        assert isinstance(stream, OpenCompletion)
        return stream


async def read(stream: OpenCompletion) -> bytes:
    async with asyncio.timeout(10):
        return await stream.first() + b"".join([part async for part in stream.rest])


async def test_an_answer_that_comes_soon_is_a_stream_like_any_other():
    place = PlaceWithoutEgress()
    place.come.set()
    service = Service(place, first_event_s=10)
    stream = await service.opened()
    assert (stream.begun, stream.head.task_id) == (True, "task-1")
    assert (await read(stream)).endswith(b"data: [DONE]\n\n")
    await stream.aclose()
    assert json.loads(place.asked[0].body)["stream"] is False
    assert (service.ledger.charged, service.late) == ([7], [])


async def test_a_refusal_that_comes_soon_is_its_status():
    place = PlaceWithoutEgress(lambda: answer(422, error={"message": "no"}))
    place.come.set()
    refusal = await Service(place, first_event_s=10).ask()
    assert isinstance(refusal, Completion)
    assert refusal.answer.status == 422


async def test_a_stream_begins_before_its_answer_has_come():
    place = PlaceWithoutEgress()
    service = Service(place)
    stream = await service.opened()
    assert not stream.begun
    assert (stream.head.status, stream.head.transport) == (200, "task")
    assert dict(stream.head.headers) == {"x-hotnode-stream": "whole"}
    place.come.set()
    body = await read(stream)
    assert b'"content":"Oslo"' in body
    assert body.endswith(b"data: [DONE]\n\n")
    await stream.aclose()
    assert stream.hops.engine_s == 2.0
    assert (service.ledger.charged, service.late) == ([7], [])


async def test_who_leaves_a_stream_that_has_begun_pays_when_the_answer_has_come():
    place = PlaceWithoutEgress()
    service = Service(place)
    stream = await service.opened()
    await stream.aclose()
    # The place is kept as long as the engine works.
    with pytest.raises(errors.RateLimited):
        await service.ask()
    place.come.set()
    await eventually(lambda: service.ledger.charged)
    assert service.ledger.charged == [7]
    [late] = service.late
    assert (late.result, late.usage is not None) == ("answered", True)
    await (await service.opened()).aclose()


async def test_who_leaves_before_the_stream_has_begun_pays_when_the_answer_has_come():
    place = PlaceWithoutEgress()
    service = Service(place, first_event_s=30)
    asked = asyncio.create_task(service.ask())
    await asyncio.wait_for(place.sent.wait(), 10)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert service.late == []
    place.come.set()
    await eventually(lambda: service.ledger.charged)
    assert (service.ledger.charged, len(service.late)) == ([7], 1)


async def test_who_leaves_while_the_answer_comes_pays_for_it():
    place = PlaceWithoutEgress()
    service = Service(place)
    stream = await service.opened()
    place.come.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stream.aclose()
    await eventually(lambda: service.ledger.charged)
    assert service.ledger.charged == [7]


@pytest.mark.parametrize(
    ("route", "event"),
    [
        ("chat/completions", b'data: {"error":{"message":"no"}}\n\n'),
        ("messages", b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n'),
        ("responses", b"event: error\ndata: "),
    ],
)
@pytest.mark.parametrize("said", [{"error": {"message": "no"}}])
async def test_a_refusal_that_comes_late_is_the_last_event(route, event, said):
    place = PlaceWithoutEgress(lambda: answer(400, **said))
    stream = await Service(place).opened(route)
    place.come.set()
    assert (await read(stream)).startswith(event)
    assert stream.failed_at_the_engine
    await stream.aclose()


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(answer(401, error={"message": "bad key"}), id="the site's key is refused"),
        pytest.param(answer(500, nothing="clear"), id="no error"),
        pytest.param(replace(answer(), body=b"no JSON"), id="no JSON"),
    ],
)
async def test_what_comes_late_and_is_no_event_is_our_error(late):
    place = PlaceWithoutEgress(lambda: late)
    service = Service(place)
    stream = await service.opened()
    place.come.set()
    with pytest.raises(errors.BackendUnavailable) as caught:
        await read(stream)
    assert caught.value.task_id == "task-1"
    await stream.aclose()
    # Nobody has left.
    assert service.late == []


async def test_an_error_that_comes_late_is_raised():
    def fails() -> InferenceAnswer:
        raise errors.BackendTimeout("The task took too long.")

    place = PlaceWithoutEgress(fails)
    service = Service(place)
    stream = await service.opened()
    place.come.set()
    with pytest.raises(errors.BackendTimeout):
        await read(stream)
    await stream.aclose()
    assert service.late == []


async def test_older_engines_errors_are_told_too():
    place = PlaceWithoutEgress(lambda: answer(400, object="error", message="too long", code=400))
    stream = await Service(place).opened()
    place.come.set()
    assert b'"message":"too long"' in await read(stream)
    await stream.aclose()
