from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest
from structlog.testing import capture_logs

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.services.limits import Limits
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import served_gateway

CATALOG = Catalog([cluster()], [model("open/chat")])
CHAT = "/resource_server/local/vllm/v1/chat/completions"
#: What the engine, which echoes, says it used.
USAGE = {"prompt_tokens": 30, "completion_tokens": 50, "total_tokens": 80}
BODY = {"model": "open/chat", "messages": [], "usage": USAGE}


class BackendThatFinishesLater(BackendThatEchoes):
    """Keeps working after the first caller has left, until a test lets it finish."""

    def __init__(self) -> None:
        super().__init__()
        self.working = asyncio.Event()
        self.left = asyncio.Event()
        self.finish: Callable[[], None] | None = None

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        if self.left.is_set():
            return await super().infer(cluster, request, late=late)
        self.working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            answer = InferenceAnswer(
                status=200,
                body=request.body,
                content_type="application/json",
                transport="task",
                hops=Hops(),
            )
            self.finish = lambda: late(answer) if late else None
            self.left.set()
            raise
        raise AssertionError("nobody sets this event")


@asynccontextmanager
async def limited(people, backend=None, **allowance: Any) -> AsyncIterator[tuple[str, str]]:
    """Serve a gateway with limits; yields its URL and Alice's token."""
    globus, tokens = people
    rules = LimitRules(defaults=(Allowance(**allowance),))
    async with (
        Limits(MemoryLimitStore(), lambda: rules) as limits,
        served_gateway(
            globus, CATALOG, backend=backend or BackendThatEchoes(), limits=limits
        ) as url,
    ):
        yield url, tokens["alice"]


def sdk(url: str, token: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key=token, base_url=f"{url}/resource_server/local/vllm/v1", max_retries=0
    )


async def ask(client: openai.AsyncOpenAI):
    return await client.chat.completions.with_raw_response.create(
        model="open/chat", messages=[], extra_body={"usage": USAGE}
    )


@pytest.mark.row("A-56")
@pytest.mark.row("A-57")
@pytest.mark.row("U-28")
async def test_the_openai_sdk_reads_what_is_left_and_when_to_come_back(people):
    async with (
        limited(people, requests_per_minute=2, tokens_per_minute=10_000) as (url, token),
        sdk(url, token) as client,
    ):
        first = await ask(client)
        await ask(client)
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(client)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    assert first.headers["x-ratelimit-limit-tokens"] == "10000"
    assert first.headers["x-ratelimit-remaining-tokens"] == "9920"
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "rate_limit_error"
    assert "2 per minute" in refused.value.message
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 30
    assert 0 < int(headers["retry-after-ms"]) <= 30_000
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-request-id"].startswith("req_")


@pytest.mark.row("U-28")
async def test_the_token_is_the_key_that_requests_are_counted_by(people):
    globus, _ = people
    async with limited(people, requests_per_minute_per_key=1) as (url, token):
        async with sdk(url, token) as client:
            await ask(client)
            with pytest.raises(openai.RateLimitError, match="with one key"):
                await ask(client)
        async with sdk(url, await globus.token("alice@example.org")) as client:
            await ask(client)


@pytest.mark.row("A-58")
async def test_without_limits_there_are_no_headers(people):
    async with limited(people) as (url, token), sdk(url, token) as client:
        answer = await ask(client)
    assert not [name for name in answer.headers if "ratelimit" in name]


async def test_one_after_the_other_never_meets_the_limit_of_one_at_once(people):
    async with limited(people, concurrent_requests=1) as (url, token), sdk(url, token) as client:
        for _ in range(20):
            answer = await ask(client)
            assert answer.headers["x-ratelimit-remaining-concurrent"] == "1"


@pytest.mark.parametrize(
    ("allowance", "limit"),
    [({"requests_per_minute": 1}, "requests"), ({"tokens_per_minute": 50}, "tokens")],
)
async def test_the_log_says_which_limit_refused_a_request(people, allowance, limit):
    with capture_logs() as events:
        async with limited(people, **allowance) as (url, token), sdk(url, token) as client:
            await ask(client)
            with pytest.raises(openai.RateLimitError):
                await ask(client)
    served, refused = (event for event in events if event["event"] == "http_request")
    assert "limit" not in served
    assert (refused["status"], refused["limit"]) == (429, limit)


async def test_a_request_that_cannot_run_here_costs_nothing(people):
    async with limited(people, requests_per_minute=1) as (url, token), sdk(url, token) as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="absent", messages=[])
        await ask(client)


async def test_whoever_leaves_keeps_the_place_and_pays_when_the_engine_is_done(people):
    backend = BackendThatFinishesLater()
    async with (
        limited(people, backend, concurrent_requests=1, tokens_per_minute=2000) as (url, token),
        aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as client,
    ):

        async def post() -> tuple[int, str, Mapping[str, str]]:
            async with client.post(CHAT, json=BODY) as response:
                return response.status, await response.text(), response.headers

        leaving = asyncio.create_task(post())
        await backend.working.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        await backend.left.wait()
        status, refusal, _ = await post()
        assert (status, "at once" in refusal) == (429, True)
        assert backend.finish is not None
        backend.finish()
        status, _, headers = await post()
        assert status == 200
        # 80 tokens of the request that nobody waited for, and 80 of this one.
        assert 1840 <= int(headers["x-ratelimit-remaining-tokens"]) < 1920
