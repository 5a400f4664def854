"""The fields of one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batch.line import Line, count_inputs, parse_line
from batch.line_error import LineError
from batch.rules import ENDPOINTS, Rules
from batch.splitting import raw_line
from tests.support.batch_inputs import CHAT, EMBEDDINGS, MODEL, body, request

RULES = Rules(model=MODEL, endpoint=CHAT)


def parsed(values: dict[str, object], rules: Rules = RULES) -> Line | tuple[LineError, ...]:
    return parse_line(raw_line(7, 0, json.dumps(values).encode()), rules)


@pytest.mark.row("C-43")
@pytest.mark.parametrize(
    "values",
    [
        request(),
        request("x" * 512),
        request("\N{WATER WAVE} \t\n"),
        request(note={"of": "the user"}),
        request(body=body(stream=False, temperature=0.5, unknown=[1])),
        request(body=body(stream=None)),
    ],
)
def test_a_full_line_is_taken_as_it_is(values: dict[str, Any]) -> None:
    line = parsed(values)
    assert line == Line(number=7, custom_id=values["custom_id"], url=CHAT, body=values["body"])
    assert line.model == MODEL


@pytest.mark.row("C-43")
@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"custom_id": ...}, "missing_custom_id", "custom_id"),
        ({"custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({"custom_id": 7}, "invalid_custom_id", "custom_id"),
        ({"custom_id": None}, "invalid_custom_id", "custom_id"),
        ({"custom_id": ["a"]}, "invalid_custom_id", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_custom_id", "custom_id"),
        ({"method": ...}, "invalid_method", "method"),
        ({"method": "post"}, "invalid_method", "method"),
        ({"method": {}}, "invalid_method", "method"),
        ({"url": ...}, "invalid_url", "url"),
        ({"url": "/v1/files"}, "invalid_url", "url"),
        ({"url": "https://engine.example/v1/chat/completions"}, "invalid_url", "url"),
        ({"url": [CHAT]}, "invalid_url", "url"),
        ({"url": EMBEDDINGS}, "mixed_urls", "url"),
        ({"body": ...}, "missing_body", "body"),
        ({"body": None}, "missing_body", "body"),
        ({"body": [body()]}, "missing_body", "body"),
        ({"body": "{}"}, "missing_body", "body"),
        ({"body": body(model=...)}, "missing_model", "body.model"),
        ({"body": body(model="")}, "missing_model", "body.model"),
        ({"body": body(model={"name": MODEL})}, "missing_model", "body.model"),
        ({"body": body(model="another")}, "mismatched_model", "body.model"),
        ({"body": body(stream=True)}, "streaming_not_supported", "body.stream"),
        ({"body": body(stream="true")}, "streaming_not_supported", "body.stream"),
        ({"body": body(stream=1)}, "streaming_not_supported", "body.stream"),
        ({"body": body(stream={})}, "streaming_not_supported", "body.stream"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], code: str, param: str) -> None:
    found = parsed({**request(**changes)})
    assert isinstance(found, tuple)
    (error,) = found
    assert (error.code, error.line, error.param) == (code, 7, param)
    assert error.message


def test_all_that_is_wrong_with_a_line_is_told_at_once() -> None:
    found = parsed({"body": {"stream": True}})
    assert isinstance(found, tuple)
    assert [error.code for error in found] == [
        "missing_custom_id",
        "invalid_method",
        "invalid_url",
        "missing_model",
        "streaming_not_supported",
    ]


def test_messages_hold_little_of_the_file() -> None:
    long = "\N{WATER WAVE}" * 100_000
    found = parsed(request([long], method=long, url=long, body=body(model=long, stream=long)))
    assert isinstance(found, tuple)
    assert len(found) == 5
    assert all(len(error.message) < 500 for error in found)


def test_no_body_has_a_field_that_the_service_sets() -> None:
    rules = Rules(reserved=frozenset({"cache_salt", "priority"}))
    found = parsed(request(body=body(cache_salt="a", b=1)), rules)
    assert isinstance(found, tuple)
    assert [(error.code, error.param) for error in found] == [("reserved_field", "body.cache_salt")]


@pytest.mark.parametrize("url", sorted(ENDPOINTS))
def test_open_rules_take_every_endpoint_and_model(url: str) -> None:
    line = parsed(request(url=url, body=body(model="any")), Rules())
    assert isinstance(line, Line)
    assert (line.url, line.model) == (url, "any")


def test_only_the_endpoints_of_the_rules_are_taken() -> None:
    found = parsed(request(), Rules(endpoints=frozenset({EMBEDDINGS})))
    assert isinstance(found, tuple)
    assert [error.code for error in found] == ["invalid_url"]
    assert EMBEDDINGS in found[0].message


@pytest.mark.parametrize(("length", "good"), [(300, True), (301, False)])
def test_the_length_of_a_line_is_bounded(length: int, good: bool) -> None:
    content = json.dumps(request()).encode().ljust(length)
    found = parse_line(raw_line(7, 0, content), Rules(most_line_bytes=300))
    if good:
        assert isinstance(found, Line)
    else:
        assert isinstance(found, tuple)
        assert [error.code for error in found] == ["line_too_long"]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("a text", 1),
        (["a", "b", "c"], 3),
        ([1, 2, 3, 4], 1),
        ([[1, 2], [3]], 2),
        ([{"text": "a"}], 1),
        ([], 1),
        (None, 1),
        (7, 1),
    ],
)
def test_embedding_inputs_are_counted(given: object, count: int) -> None:
    assert count_inputs({"input": given}) == count
