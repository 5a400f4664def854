"""Batches on real engines, run as an instance runs them: by a real vLLM and a real infinity."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract.batches import BatchReport, BatchState, BatchUse
from compute_functions.site import VARIABLE
from resource_server.domain.inference import InferenceRequest
from tests.support.batch_node import BatchNode, batch_node, site_of_engines
from tests.support.batch_orders import BatchSite
from tests.support.catalogs import cluster
from tests.support.engine import RunningEngine
from tests.support.engine_stream import BackendAtAnEngine

# The first test of a process waits for the engine to start.
pytestmark = pytest.mark.timeout(600)

BATCH, OTHER = "batch_00000001", "batch_00000002"
CHAT = "/v1/chat/completions"
EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"
CAPITALS = {"France": "Paris", "Norway": "Oslo", "Spain": "Madrid", "Italy": "Rome"}
STORY = [{"role": "user", "content": "Tell me a story."}]
#: The second is about what is asked.
RANKING = {
    "query": "How do I submit a job to the cluster?",
    "documents": ["The orchestra will sing a song.", "The scheduler runs your batch script."],
}
#: Of what the caller asks for: more than one step of the engine writes, and less than it has room.
TOKENS = 300


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSite:
    made = site_of_engines(tmp_path)
    monkeypatch.setenv(VARIABLE, str(made.site.root))
    return made


def chat(country: str) -> dict[str, Any]:
    question = {"role": "user", "content": f"What is the capital of {country}?"}
    return {"messages": [question], "temperature": 0}


def bodies_of(node: BatchNode, batch: str, count: int) -> list[dict[str, Any]]:
    """Return the answers of a batch of which so many lines, the first ones, have one good one."""
    lines = node.output(batch)
    assert [line["custom_id"] for line in lines] == [f"line-{number}" for number in range(count)]
    assert {line["response"]["status_code"] for line in lines} == {200}
    return [line["response"]["body"] for line in lines]


def is_whole(report: BatchReport, count: int) -> bool:
    """Whether a batch is over, and no line of it has failed."""
    told = (report.state, report.total, report.completed, report.failed)
    return told == (BatchState.COMPLETED, count, count, 0)


def use_of(answers: list[dict[str, Any]]) -> BatchUse:
    """Return what answers say that they cost, all together; each must have cost something."""
    used = [answer["usage"] for answer in answers]
    into = [usage.get("prompt_tokens", usage.get("input_tokens", 0)) for usage in used]
    out = [usage.get("completion_tokens") or usage.get("output_tokens", 0) for usage in used]
    assert min(into) > 0
    return BatchUse(input_tokens=sum(into), output_tokens=sum(out))


def counted(report: BatchReport) -> BatchUse:
    """Return what a batch has cost, whatever the engine had done before."""
    return replace(report.use, cached_tokens=0, reasoning_tokens=0)


async def story(engine: RunningEngine) -> list[dict[str, Any]]:
    """Return the events of a caller's stream, which must come to its end."""
    body = {
        "model": engine.model,
        "messages": STORY,
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    request = InferenceRequest(
        request_id="caller",
        framework=engine.framework,
        model=engine.model,
        path=CHAT,
        body=json.dumps(body).encode(),
        timeout_s=60,
        headers={"content-type": "application/json"},
    )
    stream = await BackendAtAnEngine(engine).stream(cluster(), request)
    try:
        events = b"".join([part async for part in stream]).split(b"\n\n")
    finally:
        await stream.aclose()
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


async def stories(engine: RunningEngine, over: asyncio.Event) -> int:
    """Ask as a caller again and again until `over`; return how many whole streams there were."""
    count = 0
    while not over.is_set():
        *parts, last = await story(engine)
        ends = [part["choices"][0]["finish_reason"] for part in parts]
        assert ends == [None] * (len(ends) - 1) + ["length"]
        assert last["usage"]["completion_tokens"] == TOKENS
        count += 1
    return count


@pytest.mark.row("C-43")
async def test_chat_lines_are_answered_beside_a_caller_whose_streams_stay_whole(
    ready_engine: RunningEngine, site: BatchSite
) -> None:
    countries = [country for country in CAPITALS for _ in range(10)]
    over = asyncio.Event()
    async with batch_node(ready_engine, "tiny-chat", site) as node, asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(stories(ready_engine, over))
        node.begin(BATCH, CHAT, [chat(country) for country in countries])
        report = await node.ended(BATCH)
        over.set()

    assert caller.result() > 0
    assert node.place.target.priority == 100
    assert is_whole(report, len(countries))
    answers = bodies_of(node, BATCH, len(countries))
    said = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert said == [f"The capital of {one} is {CAPITALS[one]}." for one in countries]
    assert counted(report) == use_of(answers)
    assert report.use.output_tokens > 0


async def test_vllm_s_other_endpoints_that_write_take_lines(
    ready_engine: RunningEngine, site: BatchSite
) -> None:
    async with batch_node(ready_engine, "tiny-chat", site) as node:
        prompts = [{"prompt": "Hello", "max_tokens": most} for most in range(1, 7)]
        node.begin(BATCH, "/v1/completions", prompts)
        questions = [chat(country)["messages"] for country in CAPITALS]
        node.begin(OTHER, "/v1/responses", [{"input": one, "temperature": 0} for one in questions])
        texts, responses = await node.ended(BATCH), await node.ended(OTHER)

    assert is_whole(texts, 6)
    assert counted(texts) == use_of(bodies_of(node, BATCH, 6))
    assert texts.use.output_tokens > 0

    assert is_whole(responses, 4)
    answers = bodies_of(node, OTHER, 4)
    for answer, capital in zip(answers, CAPITALS.values(), strict=True):
        assert capital in answer["output"][-1]["content"][0]["text"]
    assert counted(responses) == use_of(answers)
    assert responses.use.output_tokens > 0


@pytest.mark.row("C-43")
async def test_infinity_takes_lines_by_its_own_paths_and_with_its_key(
    embedding_engine: RunningEngine, site: BatchSite
) -> None:
    """And says itself what is wrong with one of token numbers, of which it knows nothing."""
    inputs: list[Any] = [f"text {'word ' * number}" for number in range(20)]
    async with batch_node(embedding_engine, "all-minilm", site) as node:
        node.begin(BATCH, EMBEDDINGS, [{"input": one} for one in [*inputs, [[101, 7592, 102]]]])
        report = await node.ended(BATCH)

    assert (report.state, report.completed, report.failed) == (BatchState.COMPLETED, 20, 1)
    (failed,) = node.errors(BATCH)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("line-20", 422)
    assert "should be a valid string" in failed["error"]["message"]
    answers = bodies_of(node, BATCH, 20)
    assert {len(answer["data"][0]["embedding"]) for answer in answers} == {384}
    assert counted(report) == use_of(answers)
    assert report.use.input_tokens >= sum(len(text.split()) for text in inputs)


async def test_infinity_ranks_texts_of_lines(
    reranker_engine: RunningEngine, site: BatchSite
) -> None:
    async with batch_node(reranker_engine, "tiny-reranker", site) as node:
        node.begin(BATCH, RERANK, [RANKING] * 10)
        report = await node.ended(BATCH)

    assert is_whole(report, 10)
    answers = bodies_of(node, BATCH, 10)
    assert [answer["results"][0]["index"] for answer in answers] == [1] * 10
    assert counted(report) == use_of(answers)


async def test_vllm_compares_texts_of_lines_with_their_priority(
    scores_engine: RunningEngine, site: BatchSite
) -> None:
    async with batch_node(scores_engine, "all-minilm-scores", site) as node:
        node.begin(BATCH, EMBEDDINGS, [{"input": "some text"}] * 4)
        node.begin(OTHER, RERANK, [RANKING] * 4)
        vectors, rankings = await node.ended(BATCH), await node.ended(OTHER)

    assert node.place.target.priority
    assert is_whole(vectors, 4)
    answers = bodies_of(node, BATCH, 4)
    assert {len(answer["data"][0]["embedding"]) for answer in answers} == {384}
    assert counted(vectors) == use_of(answers)
    assert is_whole(rankings, 4)
    answers = bodies_of(node, OTHER, 4)
    assert [answer["results"][0]["index"] for answer in answers] == [1] * 4
    assert counted(rankings) == use_of(answers)
