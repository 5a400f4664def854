from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resource_server.domain.chunk_usage import (
    has_no_choices,
    in_one_line,
    usage_member,
    without,
)
from resource_server.domain.event_stream import data_of

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


SPACES = st.sampled_from(["", "", " ", "\t", "  ", "\r\ndata: ", "\ndata:", "\ndata: \ndata: "])
#: Ways to write a character of a string by its number, or as it is.
SPELLINGS = st.sampled_from(["{0}", "{0}", "\\u{1:04x}", "\\u{1:04X}"])


class Writer:
    """Writes JSON as nobody does, and as everybody may: `draw` chooses each space and letter."""

    def __init__(self, draw: Callable[[st.SearchStrategy[str]], str]) -> None:
        self._draw = draw

    def written(self, value: object) -> str:
        space = self._draw(SPACES)
        if isinstance(value, dict):
            members = [
                f"{space}{self._text(name)}{self._draw(SPACES)}:{self.written(one)}{space}"
                for name, one in value.items()
            ]
            return f"{space}{{{','.join(members)}{space}}}"
        if isinstance(value, list):
            return f"{space}[{','.join(self.written(one) for one in value)}{space}]"
        text = self._text(value) if isinstance(value, str) else json.dumps(value)
        return space + text

    def _text(self, text: str) -> str:
        return f'"{"".join(self._letter(letter) for letter in text)}"'

    def _letter(self, letter: str) -> str:
        if ord(letter) > 0xFFFF or letter in '"\\' or ord(letter) < 0x20:
            return json.dumps(letter)[1:-1]
        return self._draw(SPELLINGS).format(letter, ord(letter))


@settings(deadline=None)
@given(st.data(), OBJECTS, OBJECTS)
def test_however_it_is_written(data, before, behind):
    """What is left is the same object without its usage, for every formatting of JSON."""
    usage = {"usage": {"prompt_tokens": 5, "details": {"cached_tokens": 1}}}
    behind = {name: value for name, value in behind.items() if name not in before}
    write = Writer(data.draw)

    def event_of(value: object) -> bytes:
        return f"data: {write.written(value)}\n\n".encode("utf-8", "surrogatepass")

    def read(event: bytes) -> object:
        return json.loads(data_of(event).decode("utf-8", "surrogatepass"))

    chunk = event_of(before | usage | behind)
    member = usage_member(chunk)
    assert member is not None
    rest = without(in_one_line(chunk), member)
    assert read(rest) == before | behind
    assert usage_member(rest) is None
    assert usage_member(event_of(before | behind)) is None


@given(st.data(), st.lists(st.integers(), max_size=1), OBJECTS)
def test_whether_there_are_choices_however_that_is_written(data, choices, others):
    chunk = f"data: {Writer(data.draw).written(others | {'choices': choices})}\n\n".encode(
        "utf-8", "replace"
    )
    assert has_no_choices(chunk) == (choices == [])


def test_a_second_usage_is_cut_too():
    chunk = b'data: {"usage":{"a":1},"b":2,"us\\u0061ge" :{"a":3}}\n\n'
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == b'data: {"b":2}\n\n'


def test_however_often_an_engine_says_its_usage_all_of_it_is_cut():
    chunk = b'data: {"b":2' + b',"usage":{}' * 2000 + b"}\n\n"
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == b'data: {"b":2}\n\n'


def test_choices_within_something_else_are_not_the_chunk_s():
    chunk = b'data: {"choices":[{"delta":{"x":{"choices":[]}}}],"usage":{"a":1}}\n\n'
    assert not has_no_choices(chunk)


@pytest.mark.parametrize("behind", [b"", b'id: "7\n', b": it's {\n"])
def test_other_fields_of_the_event_are_not_read_as_json(behind):
    chunk = b'data: {"usage" : {"a":{"b":{}}},"b":2}\n' + behind + b"\n"
    member = usage_member(chunk)
    assert member is not None
    assert without(chunk, member) == b'data: {"b":2}\n' + behind + b"\n"
