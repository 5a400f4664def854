from __future__ import annotations

import json

import pytest

from resource_server.api.control import read_control
from resource_server.domain import errors


def test_it_reads_the_fields_it_acts_on():
    control = read_control(b'{"model": "a/b", "stream": true, "messages": [1, {"x": "y"}]}')
    assert (control.model, control.stream) == ("a/b", True)
    assert control.fields == {"model", "stream", "messages"}


@pytest.mark.parametrize("stream", [b"false", b"null"])
def test_stream_is_off_unless_true(stream):
    assert read_control(b'{"model": "m", "stream": %s}' % stream).stream is False


def test_the_last_of_two_equal_fields_counts_as_it_does_for_engines():
    body = b'{"model": "a", "model": "b"}'
    assert read_control(body).model == json.loads(body)["model"]


def test_an_escaped_field_name_is_the_field():
    assert "cache_salt" in read_control(b'{"model": "m", "cache\\u005fsalt": 1}').fields


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model": "m"', None),
        (b'{"model": "m"} x', None),
        (b'{"model": "\xff"}', "model"),
        (b"{}", "model"),
        (b'{"model": 1}', "model"),
        (b'{"model": null}', "model"),
        (b'{"model": "m", "stream": "yes"}', "stream"),
        (b'{"model": "m", "stream": 1}', "stream"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field(body, param):
    with pytest.raises(errors.InvalidRequest) as refused:
        read_control(body)
    assert refused.value.param == param
