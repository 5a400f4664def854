from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resource_server.domain.chunk_usage import has_no_choices, usage_member, without

USAGE = '"usage":{"prompt_tokens":5,"total_tokens":8,"completion_tokens":3}'
NESTED = '"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}'
CHOICES = '"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]'


def event(*members: str) -> bytes:
    return ("data: {" + ",".join(members) + "}\n\n").encode()


@pytest.mark.parametrize("usage", [USAGE, NESTED, USAGE.replace(":", ": ")])
@pytest.mark.parametrize(
    "behind",
    [[], ['"prompt_token_ids":null'], ['"a":"b"', '"c":1.5'], ['"t":{"x":[{}]}'], ['"a":[1,2]']],
)
@pytest.mark.parametrize("before", [['"id":"x"', CHOICES], ['"id":"x"'], []])
def test_the_chunk_s_own_member_is_cut_out_and_no_other_byte(before, usage, behind):
    chunk = event(*before, usage, *behind)
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == event(*before, *behind)


@pytest.mark.parametrize(
    "chunk",
    [
        event(CHOICES),
        event(CHOICES, '"usage":null'),
        event('"choices":[{"delta":{"content":"\\",\\"usage\\":{\\"a\\":1}"}}]'),
        event('"choices":[{"delta":{"content":"usage"}}]'),
        event('"choices":[{"delta":{"x":{"a":1,"usage":{"b":2}}}}]'),
        event('"choices":[{"delta":{"x":{"a":1,"usage":{"b":2}}}}]', '"z":1'),
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
        b'data: {"usage":{"a":',
    ],
)
def test_what_is_not_the_chunk_s_own_usage_is_left_alone(chunk):
    assert usage_member(chunk) is None


def test_space_around_commas_and_colons():
    chunk = b'data: {"choices": [ ] , "usage": {"a": 1}, "b": 2}\n\n'
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == b'data: {"choices": [ ] , "b": 2}\n\n'
    assert has_no_choices(chunk)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just('","usage":{'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.just("usage"), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=6).filter(lambda n: n != "usage"), VALUES, max_size=4)


@settings(deadline=None)
@given(OBJECTS, OBJECTS, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_whatever_surrounds_it(before, behind, separators, ascii_):
    behind = {name: value for name, value in behind.items() if name not in before}
    usage = {"usage": {"prompt_tokens": 5, "details": {"cached_tokens": 1}}}

    def written(value: object) -> bytes:
        text = json.dumps(value, separators=separators, ensure_ascii=ascii_)
        return f"data: {text}\n\n".encode("utf-8", "surrogatepass")

    chunk = written(before | usage | behind)
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == written(before | behind)
    assert usage_member(written(before | behind)) is None
