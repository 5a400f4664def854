"""What counts as one JSON object."""

from __future__ import annotations

import json
import sys

import pytest

from batch.json_line import MOST_NESTED, MOST_PARTS, NotJson, read_object


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b' \t{"a": 1}\t ',
        '{"a": "\N{WATER WAVE}\N{GREEK SMALL LETTER PI}"}'.encode(),
        rb'{"a": "\ud83c\udf0a \\ud83c \u0000"}',
        b'{"a": {"b": 1, "c": {"b": 1}}, "b": [{"a": 1}]}',
        b'{"a": 1e300, "b": -0.5E-400, "c": 1e-999}',
        b'{"a": "' + b"[{" * 300 + b'"}',
        b'{"a": [' + b"[]," * 300 + b"[]]}",
        nested(MOST_NESTED),
    ],
)
def test_objects_are_read(content: bytes) -> None:
    assert read_object(content) == json.loads(content)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b'{"a": "\xff"}', "invalid_encoding", "byte 8 of the line"),
        (b'{"a": "\xed\xa0\x80"}', "invalid_encoding", "not UTF-8"),
        (b'{"a": 1}\0', "invalid_encoding", "byte 9 of the line is NUL"),
        ('{"a": 1}'.encode("utf-16"), "invalid_encoding", "UTF-16"),
        (b"\xef\xbb\xbf{}", "invalid_json", "no JSON"),
        (b"", "invalid_json", "no JSON"),
        (b"{'a': 1}", "invalid_json", "character 2"),
        (b'{"a": 1} {"a": 2}', "invalid_json", "Extra data"),
        (b'{"a": 1},', "invalid_json", "Extra data"),
        (b'{"a": "\x01"}', "invalid_json", "control character"),
        (b"[1]", "invalid_json", "a list"),
        (b'"a"', "invalid_json", "a string"),
        (b"null", "invalid_json", "null"),
        (b"true", "invalid_json", "true or false"),
        (b"7", "invalid_json", "a number"),
        (b'{"a": NaN}', "invalid_json", "NaN"),
        (b'{"a": -Infinity}', "invalid_json", "-Infinity"),
        (b'{"a": [1e999]}', "invalid_json", "too large"),
        (b'{"a": -1.0E+400}', "invalid_json", "too large"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "invalid_json", "too many digits"),
        (b'{"a": 1, "b": {"c": 1}, "a": 1}', "invalid_json", "the key 'a' stands there twice"),
        (rb'{"a": 1, "\u0061": 1}', "invalid_json", "the key 'a' stands there twice"),
        (rb'{"a": "\ud83c"}', "invalid_json", "half a character"),
        (rb'{"a": {"\udf0a\ud83c": 1}}', "invalid_json", "half a character"),
        (nested(MOST_NESTED + 1), "invalid_json", "nested more than 100 deep"),
        (nested(200_000), "invalid_json", "nested more than 100 deep"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "invalid_json", "nested more than 100 deep"),
    ],
)
def test_what_is_no_object_is_told(content: bytes, code: str, words: str) -> None:
    with pytest.raises(NotJson) as raised:
        read_object(content)
    assert raised.value.code == code
    assert words in raised.value.message


def test_depth_is_measured_where_the_interpreter_allows_more() -> None:
    assert sys.getrecursionlimit() > 2 * MOST_NESTED
    with pytest.raises(NotJson, match="nested"):
        read_object(nested(2 * MOST_NESTED))


@pytest.mark.parametrize(
    ("content", "cut"),
    [(b'{"a": "x', True), (b'{"a": "\xc3', True), (b'{"a": "\xffx"}', False), (b"[]", False)],
)
def test_it_says_whether_more_might_have_followed(content: bytes, cut: bool) -> None:
    with pytest.raises(NotJson) as raised:
        read_object(content)
    assert raised.value.cut is cut


def test_a_line_of_more_parts_than_memory_is_meant_for_is_refused():
    for part in (b"{}", b"[]"):
        many = b'{"a":[' + b",".join([part] * MOST_PARTS) + b"]}"
        with pytest.raises(NotJson, match="more than 200000 objects and lists"):
            read_object(many)


def test_brackets_in_a_text_are_no_parts():
    text = '{[\\"{[' * MOST_PARTS
    assert read_object(f'{{"a":"{text}"}}'.encode()) == {"a": text.replace("\\", "")}
    with pytest.raises(NotJson, match="no JSON: Unterminated string"):
        read_object(f'{{"a":"{text}'.encode())
