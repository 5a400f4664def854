"""Single fields of a body are set or taken away, and no other byte of a value changes."""

from __future__ import annotations

import json

import pytest

from resource_server.adapters.request_bodies import ABSENT, field, with_fields
from resource_server.api.form_body import FormBody
from resource_server.domain import errors

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nours\r\n'
    b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    b"\x00\r\n--c\r\nbytes\r\n--b--\r\n"
)


def test_json_keeps_the_bytes_of_other_values():
    body = b'{"stream": true, "seed": 12345678901234567890123, "x": 1.10, "s": "\\u00e9"}'
    made = with_fields(body, "application/json", {"stream": False, "seed_2": 1})
    assert made == (
        b'{"stream":false,"seed":12345678901234567890123,"x":1.10,"s":"\\u00e9","seed_2":1}'
    )


def test_json_loses_a_field():
    made = with_fields(b'{"a": 1, "b": 2}', "", {"a": ABSENT, "c": ABSENT})
    assert json.loads(made) == {"b": 2}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(errors.InvalidRequest):
        with_fields(body, "application/json", {})
    with pytest.raises(errors.InvalidRequest):
        field(body, "application/json", "a")


def test_a_form_gets_fields_and_keeps_its_file():
    kind = "multipart/form-data; boundary=b"
    given = FormBody(FORM, kind)
    made = with_fields(
        given.content, given.content_type, {"stream": False, "model": "theirs", "none": ABSENT}
    )
    read = FormBody(made, given.content_type)
    assert (read.model, read.stream) == ("theirs", False)
    assert read.fields == {"model", "stream", "file"}
    assert b'filename="a.wav"\r\n\r\n\x00\r\n--c\r\nbytes\r\n--' in made
    assert made.count(b"\r\n--" + given.content_type.partition("boundary=")[2].encode()) == 3


def test_a_form_loses_a_field():
    given = FormBody(FORM, "multipart/form-data; boundary=b")
    read = FormBody(
        with_fields(given.content, given.content_type, {"stream": ABSENT}), given.content_type
    )
    assert read.fields == {"model", "file"}


def test_a_field_is_read_of_json_alone():
    assert field(b'{"a": {"b": [1]}}', "application/json", "a") == {"b": [1]}
    assert field(b"{}", "", "a") is None
    assert field(FORM, "multipart/form-data; boundary=b", "model") is None


def test_a_form_s_names_are_what_they_are_and_its_files_are_not_read():
    kind = "multipart/form-data; boundary=b"
    head = b'content-disposition: FORM-DATA; NAME="'
    body = b"".join(
        b'--b\r\n%s%s"\r\n\r\nX\r\n' % (head, name) for name in (b"Model", b"model", b"models")
    )
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    sound = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nSOUND'
    made = with_fields(body + file + sound + b"\r\n--b--\r\n", kind, {"model": ABSENT})
    assert made == (
        b'--b\r\n%sModel"\r\n\r\nX\r\n' % head
        + b'--b\r\n%smodels"\r\n\r\nX\r\n' % head
        + file
        + sound
        + b"\r\n--b--\r\n"
    )
