"""Embeddings, rerank, score and classify at a site, by a real infinity and by a real vLLM."""

from __future__ import annotations

import base64
import math
import struct

import aiohttp
import pytest

from compute_functions.contract import FailureCode, SiteFailure
from tests.support.engine import RunningEngine
from tests.support.site_requests import answered, said, send

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("at_site")]

#: What all-MiniLM-L6-v2 gives for one text.
NUMBERS = 384


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


async def vectors(engine: RunningEngine, *texts: str) -> list[list[float]]:
    answer = await said(engine, "embeddings", input=list(texts), encoding_format="float")
    assert [entry["index"] for entry in answer["data"]] == list(range(len(texts)))
    return [entry["embedding"] for entry in answer["data"]]


@pytest.mark.row("A-9")
@pytest.mark.row("C-33")
async def test_what_means_the_same_is_near(embedding_engine: RunningEngine) -> None:
    cat, kitten, market = await vectors(
        embedding_engine,
        "A cat sleeps on the sofa.",
        "The kitten naps on the couch.",
        "Shares fell on Monday.",
    )

    assert len(cat) == NUMBERS
    assert math.hypot(*cat) == pytest.approx(1, abs=1e-4)
    assert cosine(cat, kitten) > 0.5
    assert cosine(cat, market) < 0.2


async def test_one_text_needs_no_list_and_tokens_are_counted(
    embedding_engine: RunningEngine,
) -> None:
    answer = await said(embedding_engine, "embeddings", input="hello world")

    assert answer["object"] == "list"
    assert len(answer["data"]) == 1
    # Letters, which infinity counts unless told otherwise, would be eleven.
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


async def test_base64_holds_the_same_numbers(
    embedding_engine: RunningEngine, scores_engine: RunningEngine
) -> None:
    for engine in (embedding_engine, scores_engine):
        (numbers,) = await vectors(engine, "hello")
        packed = await said(engine, "embeddings", input="hello", encoding_format="base64")
        unpacked = struct.unpack(f"<{NUMBERS}f", base64.b64decode(packed["data"][0]["embedding"]))

        assert list(unpacked) == pytest.approx(numbers, abs=1e-6)


async def test_infinity_cuts_vectors_and_vllm_refuses_to(
    embedding_engine: RunningEngine, scores_engine: RunningEngine
) -> None:
    """The model was not trained to be cut: infinity does it all the same."""
    (whole,) = await vectors(embedding_engine, "hello")
    cut = await said(embedding_engine, "embeddings", input="hello", dimensions=16)
    status, answer = await answered(scores_engine, "embeddings", input="hello", dimensions=16)

    assert cut["data"][0]["embedding"] == pytest.approx(whole[:16], abs=1e-6)
    assert status == 400
    assert "dimensions must be unset" in answer["error"]["message"]


async def test_both_engines_give_the_same_vector(
    embedding_engine: RunningEngine, scores_engine: RunningEngine
) -> None:
    (one,) = await vectors(embedding_engine, "The scheduler starts the job.")
    (other,) = await vectors(scores_engine, "The scheduler starts the job.")

    assert one == pytest.approx(other, abs=1e-5)


async def test_vllm_takes_tokens_and_infinity_does_not(
    embedding_engine: RunningEngine, scores_engine: RunningEngine
) -> None:
    tokens = (await said(scores_engine, "tokenize", prompt="hello"))["tokens"]
    (text,) = await vectors(scores_engine, "hello")
    by_tokens = await said(scores_engine, "embeddings", input=[tokens])
    status, answer = await answered(embedding_engine, "embeddings", input=[tokens])

    assert by_tokens["data"][0]["embedding"] == pytest.approx(text, abs=1e-6)
    assert status == 422
    assert "valid string" in answer["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"input": "x", "dimensions": 1000}, 400, "Select between 1 and 384"),
        ({"input": []}, 422, "at least 1 item"),
    ],
)
async def test_infinity_s_refusals_keep_status_and_words(
    embedding_engine: RunningEngine, body: dict[str, object], status: int, says: str
) -> None:
    got, answer = await answered(embedding_engine, "embeddings", **body)

    assert got == status
    assert says in str(answer)


async def test_infinity_answers_to_any_name(embedding_engine: RunningEngine) -> None:
    """With one model it does not look at the name: who asks for what is decided before."""
    answer = await said(embedding_engine, "embeddings", input="x", model="another")

    assert answer["model"] == embedding_engine.model


async def test_too_long_a_text_is_refused_by_vllm_and_cut_by_infinity(
    embedding_engine: RunningEngine, scores_engine: RunningEngine
) -> None:
    text = "word " * 1000
    status, answer = await answered(scores_engine, "embeddings", input=text)

    assert status == 400
    assert "maximum context length is 256" in answer["error"]["message"]
    assert len((await vectors(embedding_engine, text))[0]) == NUMBERS


async def test_vllm_ranks_by_the_angle_between_texts(scores_engine: RunningEngine) -> None:
    documents = ["The sky is blue.", "Munich is in Germany.", "I like tea."]
    answer = await said(
        scores_engine, "rerank", query="Where is Munich?", documents=documents, top_n=2
    )

    assert len(answer["results"]) == 2
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["relevance_score"] > 0.8 > answer["results"][1]["relevance_score"]
    assert answer["results"][0]["document"]["text"] == "Munich is in Germany."


async def test_vllm_scores_pairs(scores_engine: RunningEngine) -> None:
    answer = await said(
        scores_engine, "score", text_1="A cat sleeps.", text_2=["A cat naps.", "Shares fell."]
    )

    near, far = (entry["score"] for entry in answer["data"])
    assert near > 0.6
    assert far < 0.2


async def test_infinity_ranks_with_a_cross_encoder(reranker_engine: RunningEngine) -> None:
    documents = ["The orchestra will sing a song.", "The scheduler runs your batch script."]
    answer = await said(
        reranker_engine,
        "rerank",
        query="How do I submit a job to the cluster?",
        documents=documents,
        return_documents=True,
    )

    best, worst = answer["results"]
    assert (best["index"], worst["index"]) == (1, 0)
    assert best["relevance_score"] > 0.9
    assert worst["relevance_score"] < 0.1
    assert best["document"] == documents[1]


async def test_infinity_classifies(classifier_engine: RunningEngine) -> None:
    texts = ["My job is in the queue of the scheduler.", "Rain and snow in winter."]
    answer = await said(classifier_engine, "classify", input=texts)

    assert [labels[0]["label"] for labels in answer["data"]] == ["computing", "weather"]
    for labels in answer["data"]:
        assert len(labels) == 6
        assert sum(label["score"] for label in labels) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("route", ["embeddings", "score", "tokenize"])
async def test_a_route_that_the_model_does_not_serve_is_closed(
    reranker_engine: RunningEngine, route: str
) -> None:
    reply = await send(reranker_engine, route, b"{}")

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.PATH_NOT_ALLOWED


async def test_infinity_asks_everybody_on_the_host_for_its_key(
    embedding_engine: RunningEngine,
) -> None:
    """Health, metrics and docs stay open; they hold no texts."""
    address = embedding_engine.registration()["endpoint"]
    async with aiohttp.ClientSession() as somebody:
        statuses = {}
        for path in ("/embeddings", "/rerank", "/classify"):
            for key in ("", "Bearer ", "Bearer guessed"):
                headers = {"authorization": key} if key else {}
                async with somebody.post(address + path, json={}, headers=headers) as answer:
                    statuses[path, key] = answer.status
        async with somebody.get(address + "/models") as answer:
            statuses["/models", ""] = answer.status

    assert set(statuses.values()) == {401}
