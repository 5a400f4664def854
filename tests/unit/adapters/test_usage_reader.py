from __future__ import annotations

import json

import pytest

from resource_server.adapters.usage_reader import read_event_usage, read_usage
from resource_server.domain.inference import Hops, InferenceAnswer, Usage


def answer(body: bytes, content_type: str = "application/json") -> InferenceAnswer:
    return InferenceAnswer(
        status=200, body=body, content_type=content_type, transport="task", hops=Hops()
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(input_tokens=9, output_tokens=5, cached_tokens=4, reasoning_tokens=2),
        ),
        (
            {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0},
            Usage(input_tokens=9),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(input_tokens=9, output_tokens=5, cached_tokens=4, reasoning_tokens=2),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 2,
            },
            Usage(input_tokens=14, output_tokens=5, cached_tokens=3),
        ),
        (
            {"input_tokens": 0, "output_tokens": 5, "cache_read_input_tokens": 3},
            Usage(input_tokens=3, output_tokens=5, cached_tokens=3),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "cache_read_input_tokens": 3},
            Usage(input_tokens=9, output_tokens=5, cached_tokens=3),
        ),
        ({"total_tokens": 12}, Usage(input_tokens=12)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(input_tokens=9)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": -1,
                "prompt_tokens_details": {"cached_tokens": -1},
                "completion_tokens_details": {"reasoning_tokens": True},
                "total_tokens": 10**30,
            },
            Usage(input_tokens=9),
        ),
    ],
    ids=[
        "chat",
        "embeddings",
        "responses",
        "messages",
        "messages, all cached",
        "chat with a cache beside",
        "rerank",
        "null details",
        "odd numbers",
    ],
)
def test_every_dialect_is_understood(usage, expected):
    assert read_usage(answer(json.dumps({"id": "x", "usage": usage}).encode())) == expected


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{}", "application/json"),
        (b'{"usage": null}', "application/json"),
        (b'{"usage": 3}', "application/json"),
        (b'{"usage": {"prompt_tokens": "many"}}', "application/json"),
        (b'{"usage": {"prompt_tokens": 1}', "application/json"),
        (b'[{"usage": {"prompt_tokens": 1}}]', "application/json"),
        (b"a transcription", "text/plain; charset=utf-8"),
        (b"\xff", "application/json"),
    ],
)
def test_an_answer_that_does_not_say_costs_nobody_knows_what(body, content_type):
    assert read_usage(answer(body, content_type)) is None


def test_a_count_below_zero_is_no_usage():
    assert read_usage(answer(b'{"usage": {"prompt_tokens": -5}}')) is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}',
        b'{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":4}}}',
        b'{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":4}}}',
    ],
)
def test_events_say_it_where_their_dialect_has_it(data):
    assert read_event_usage(data) == Usage(input_tokens=3, output_tokens=4)


@pytest.mark.parametrize(
    "data", [b"", b"[DONE]", b"[]", b'{"usage":null}', b'{"response":3}', b'{"response":{}}']
)
def test_events_that_do_not_say(data):
    assert read_event_usage(data) is None
