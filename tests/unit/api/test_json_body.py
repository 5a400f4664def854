from __future__ import annotations

import json

import pytest

from resource_server.api.json_body import MAX_FIELDS, MAX_MODEL_CHARS, JsonBody
from resource_server.domain import errors


def test_it_reads_the_fields_it_acts_on():
    read = JsonBody(b'{"model": "a/b", "stream": true, "messages": [1, {"x": "y"}]}')
    assert (read.model, read.stream) == ("a/b", True)
    assert read.fields == {"model", "stream", "messages"}


def test_an_empty_body_is_called_empty():
    with pytest.raises(errors.InvalidRequest, match="The body is empty"):
        JsonBody(b"")


@pytest.mark.parametrize("stream", [b"false", b"null"])
def test_stream_is_off_unless_true(stream):
    assert JsonBody(b'{"model": "m", "stream": %s}' % stream).stream is False


def test_the_last_of_two_equal_fields_counts_as_it_does_for_engines():
    body = b'{"model": "a", "stream": true, "model": "b", "str\\u0065am": false, "n": 1, "n": 2}'
    read, engine = JsonBody(body), json.loads(body)
    assert (read.model, read.stream, read.value("n")) == ("b", False, 2)
    assert (engine["model"], engine["stream"], engine["n"]) == ("b", False, 2)
    assert json.loads(read.replaced({"model": "c"}).content) == {**engine, "model": "c"}


@pytest.mark.parametrize("half", ["\\ud800", "\\uDC00", "\\ud83d\\ude00\\ude00"])
def test_half_of_a_surrogate_pair_is_called_that(half):
    body = f'{{"model": "m", "user": "{half}"}}'.encode()
    with pytest.raises(errors.InvalidRequest, match="half of a surrogate pair"):
        JsonBody(body.replace(b"user", half.encode()))
    with pytest.raises(errors.InvalidRequest, match="half of a surrogate pair"):
        JsonBody(body)


def test_text_of_every_kind_passes():
    body = '{"model": "m", "user": "é \U0001f600 \\ud83d\\ude00"}'.encode()
    assert JsonBody(body).value("user") == "é \U0001f600 \U0001f600"


def test_a_field_s_own_bytes_can_be_had():
    body = JsonBody(b'{"model": "m", "input":  [1,  2] }')
    assert (body.raw("input"), body.raw("absent")) == (b"[1,  2]", b"")


def test_an_escaped_field_name_is_the_field():
    assert "cache_salt" in JsonBody(b'{"model": "m", "cache\\u005fsalt": 1}').fields


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model": "m"', None),
        (b'{"model": "m"} x', None),
        (b'{"model": "\xff"}', None),
        (b'{"model": "m", "user": "\xff"}', None),
        (b"{}", "model"),
        (b'{"model": 1}', "model"),
        (b'{"model": null}', "model"),
        (b'{"model": "m", "stream": "yes"}', "stream"),
        (b'{"model": "m", "stream": 1}', "stream"),
        (b'{"model": "m", "stream": "\xff"}', None),
        (b'{"model": "m", "\xff": 1}', None),
        (b'{"model": "\\ud800"}', None),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field(body, param):
    with pytest.raises(errors.InvalidRequest) as refused:
        JsonBody(body)
    assert refused.value.param == param


def test_a_body_that_is_nested_too_deeply_is_refused():
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(errors.InvalidRequest, match="nested too deeply"):
        JsonBody(b'{"model": "m", "messages": %s}' % deep)


def body_of(fields: int) -> bytes:
    return b'{"model": "m", %s}' % b", ".join(b'"%d": 1' % number for number in range(fields - 1))


def test_a_body_has_no_more_fields_than_the_limit():
    assert len(JsonBody(body_of(MAX_FIELDS)).fields) == MAX_FIELDS
    with pytest.raises(errors.InvalidRequest, match=str(MAX_FIELDS)):
        JsonBody(body_of(MAX_FIELDS + 1))


def test_what_comes_after_too_many_fields_is_not_read():
    with pytest.raises(errors.InvalidRequest, match=str(MAX_FIELDS)):
        JsonBody(body_of(MAX_FIELDS + 1).removesuffix(b"}") + b" no JSON")


def test_fields_below_the_first_level_are_not_counted():
    inner = body_of(MAX_FIELDS + 1)
    read = JsonBody(b'{"model": "m", "metadata": %s}' % inner)
    assert (read.model, read.fields) == ("m", {"model", "metadata"})


def test_a_name_longer_than_any_model_is_refused_and_not_repeated():
    longest = "m" * MAX_MODEL_CHARS
    assert JsonBody(json.dumps({"model": longest}).encode()).model == longest
    with pytest.raises(errors.InvalidRequest) as refused:
        JsonBody(json.dumps({"model": longest + "m"}).encode())
    assert refused.value.param == "model"
    assert longest not in refused.value.message
