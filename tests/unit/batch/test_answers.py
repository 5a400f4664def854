"""What engines say, made into what is recorded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import answers, use
from batch.journal.record import Problem
from batch.use import Use

OTHERWISE = Problem(code="http_400", message="the engine answered with status 400")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 0, 2]))
def test_a_json_body_is_kept_on_one_line(values: dict[str, object], indent: int | None):
    raw = answers.read(json.dumps(values, indent=indent, ensure_ascii=False).encode()).raw
    assert json.loads(raw) == values
    assert b"\n" not in raw
    assert b"\r" not in raw


def test_the_bytes_of_a_body_pass_unchanged():
    content = b'{"a": 1.50, "b" :"\\u00fc"}'
    assert answers.read(content).raw == content


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"a":Infinity}']
)
def test_what_is_no_json_is_no_body(content: bytes):
    found = answers.read(content)
    assert (found.raw, found.values) == (b"null", None)


@pytest.mark.parametrize("content", [b"[1]", b"1", b'"text"', b"null"])
def test_json_that_is_no_object_says_nothing(content: bytes):
    assert answers.read(content).values is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "too_long", "message": "m"}, Problem(code="too_long", message="m")),
        ({"code": 400, "type": "Bad", "message": "m"}, Problem(code="Bad", message="m")),
        ({"code": None, "message": 7}, OTHERWISE),
        ({"code": "no code\n", "message": "m"}, Problem(code="http_400", message="m")),
        ("text", OTHERWISE),
    ],
)
def test_an_error_in_openais_form_is_passed_on(error: object, expected: Problem):
    body = answers.read(json.dumps({"error": error}).encode())
    assert body.problem(OTHERWISE) == expected


def test_an_error_without_an_envelope_is_passed_on():
    body = answers.read(b'{"object":"error","type":"BadRequestError","message":"m","code":400}')
    assert body.problem(OTHERWISE) == Problem(code="BadRequestError", message="m")


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("no such thing", "no such thing"),
        (
            [{"msg": "Field required", "loc": ["body", "input", 0]}, {"msg": "m", "loc": []}],
            "Field required (body.input.0)",
        ),
        ([{"msg": "Field required"}], "Field required"),
        ([{"msg": 7}], OTHERWISE.message),
        ([], OTHERWISE.message),
        (None, OTHERWISE.message),
    ],
)
def test_what_a_server_says_of_wrong_fields_is_passed_on(detail: object, message: str):
    body = answers.read(json.dumps({"detail": detail}).encode())
    assert body.problem(OTHERWISE) == Problem(code=OTHERWISE.code, message=message)


def test_use_is_read_in_both_dialects():
    chat = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    responses = {
        "input_tokens": 10,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    expected = Use(input_tokens=10, output_tokens=7, cached_tokens=4, reasoning_tokens=2)
    assert use.of_answer({"usage": chat}) == use.of_answer({"usage": responses}) == expected
    assert expected.total_tokens == 17


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"total_tokens": 9}, Use(input_tokens=9)),
        (
            {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 9},
            Use(input_tokens=7, output_tokens=2),
        ),
        ({"output_tokens": 9, "total_tokens": 2}, Use(output_tokens=9)),
        ({"completion_tokens": 4, "total_tokens": 10}, Use(input_tokens=6, output_tokens=4)),
    ],
)
def test_what_is_told_in_all_alone_is_of_the_input(usage: dict[str, int], expected: Use):
    assert use.of_answer({"usage": usage}) == expected


@pytest.mark.parametrize(
    "usage", [None, 3, [], {"prompt_tokens": "7"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_what_is_no_count_costs_nothing(usage: object):
    assert use.of_answer({"usage": usage}) == Use()
