from __future__ import annotations

import os
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as some

from resource_server.api.form_body import MAX_PARTS, FormBody
from resource_server.api.form_part import MAX_HEAD_BYTES, MAX_VALUE_BYTES
from resource_server.domain import errors
from tests.support.form_reader import ReadField, read_form

SOUND = os.urandom(200_000) + b"\r\n--no boundary\r\n"


async def form(**fields: str | bytes) -> FormBody:
    """Return a form as aiohttp's client sends it; bytes are files."""
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            data.add_field(name, value, filename="é.mp3", content_type="audio/mpeg")
        else:
            data.add_field(name, value)
    payload = data()
    return FormBody(await payload.as_bytes(), payload.headers["Content-Type"])


def parts(body: FormBody) -> dict[str, tuple[str | None, bytes]]:
    """Return file name and content of every field, as the standard library reads them."""
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message: Any = BytesParser(policy=HTTP).parsebytes(head + body.content)
    return {
        part.get_param("name", header="content-disposition"): (
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    }


async def test_it_reads_the_fields_it_acts_on():
    body = await form(model="a/b", stream="true", language="en", file=SOUND)
    assert (body.model, body.stream) == ("a/b", True)
    assert body.fields == {"model", "stream", "language", "file"}
    assert body.value("language") == "en"
    assert body.value("absent") is None
    assert body.value("file") is None


@pytest.mark.parametrize(
    ("word", "stream"),
    [("false", False), ("", False), ("0", False), ("true", True), ("True", True), ("1", True)],
)
async def test_stream_is_said_in_few_words(word, stream):
    assert (await form(model="m", stream=word)).stream is stream


@pytest.mark.parametrize("word", ["on", "yes", "y", "t", "off", "2", " true"])
async def test_other_words_for_stream_are_refused(word):
    """Engines take some of them for true."""
    with pytest.raises(errors.InvalidRequest) as refused:
        await form(model="m", stream=word)
    assert refused.value.param == "stream"


async def test_a_replaced_field_leaves_the_others_as_they_were():
    body = await form(model="short", prompt="ü", file=SOUND)
    changed = body.replaced({"model": "a/b", "temperature": 0.5})
    assert changed.model == "a/b"
    assert parts(changed) == {
        "model": (None, b"a/b"),
        "temperature": (None, b"0.5"),
        "prompt": (None, "ü".encode()),
        "file": parts(body)["file"],
    }
    assert parts(changed)["file"][1] == SOUND
    assert changed.replaced({"model": "c"}).model == "c"


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"]
)
def test_another_kind_of_body_is_told_what_the_route_takes(content_type):
    with pytest.raises(errors.InvalidRequest, match="multipart/form-data"):
        FormBody(b"", content_type)


HEAD = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing",
        HEAD + b"m",
        HEAD + b"m\r\n--x\r\n",
        b"--x\r\nno colon\r\n\r\n",
        b"preamble\r\n" + HEAD + b"m\r\n--x--\r\n",
        HEAD + b"m\r\n--x \r\n\r\n\r\n--x--\r\n",
        HEAD + b"m\r\n--xy\r\n--x--\r\n",
        HEAD + b"m\r\n--x\r\n" + HEAD.replace(b"--x\r\n", b"\r\n\r\n") + b"--x--",
        HEAD.replace(b"model", b"mo%22del") + b"m\r\n--x--\r\n",
        HEAD.replace(b'"model"', b'"mo\\"del"') + b"m\r\n--x--\r\n",
        HEAD.replace(b"model", b"mo\ndel") + b"m\r\n--x--\r\n",
        HEAD.replace(b"form-data", b"attachment") + b"m\r\n--x--\r\n",
        HEAD.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n") + b"m\r\n--x--\r\n",
        HEAD.replace(b"\r\n\r\n", b"x" * MAX_HEAD_BYTES + b"\r\n\r\n") + b"m\r\n--x--\r\n",
        HEAD + b"\xff\r\n--x--\r\n",
    ],
)
def test_a_form_that_is_cut_off_or_broken_is_refused(content):
    with pytest.raises(errors.InvalidRequest):
        FormBody(content, "multipart/form-data; boundary=x")


async def test_a_form_without_a_model_names_the_field():
    with pytest.raises(errors.InvalidRequest) as refused:
        await form(file=SOUND)
    assert refused.value.param == "model"


async def test_too_many_fields_and_too_long_values_are_refused():
    with pytest.raises(errors.InvalidRequest, match="fields"):
        await form(model="m", **{f"f{n}": "x" for n in range(MAX_PARTS)})
    with pytest.raises(errors.InvalidRequest, match="longer"):
        (await form(model="m", prompt="x" * (MAX_VALUE_BYTES + 1))).value("prompt")
    with pytest.raises(errors.InvalidRequest, match="longer"):
        await form(model="m" * 300)


def field(name: str, content: bytes = b"", more: bytes = b"") -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"'.encode()
    return head + more + b"\r\n\r\n" + content + b"\r\n"


MODEL = field("model", b"m")
END = b"--x--\r\n"


@pytest.mark.parametrize("name", ["model", "stream"])
def test_a_field_we_act_on_is_there_once(name):
    content = MODEL + field(name, b"1") + field(name, b"0", b'; filename="f"') + END
    with pytest.raises(errors.InvalidRequest) as refused:
        FormBody(content, "multipart/form-data; boundary=x")
    assert refused.value.param == name


def test_a_field_with_two_names_is_refused():
    second = b'\r\ncontent-disposition: form-data; name="priority"'
    with pytest.raises(errors.InvalidRequest, match="more than once"):
        FormBody(MODEL + field("user", b"1", second) + END, "multipart/form-data; boundary=x")


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1", ""])
def test_a_form_in_another_charset_is_refused(charset):
    content = MODEL + field("+AHA-riority", b"1") + END
    with pytest.raises(errors.InvalidRequest, match="UTF-8"):
        FormBody(content, f"multipart/form-data; boundary=x; charset={charset}")
    assert FormBody(content, "multipart/form-data; boundary=x; charset=UTF-8").model == "m"


async def test_what_goes_on_has_no_headers_but_those_that_are_needed():
    more = b'; filename="a.mp3"\r\nContent-Type: audio/mpeg; x=y\r\nX-Other: z'
    body = FormBody(MODEL + field("file", b"1", more) + END, "multipart/form-data; boundary=x")
    assert b"X-Other" not in body.content
    assert (await read_form(body.content, body.content_type))[1] == ReadField(
        name="file", filename="a.mp3", media_type="audio/mpeg", content=b"1"
    )


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"; filename*=UTF-8''%C3%A9%22.mp3", "é_.mp3"),
        (b'; filename="a\\"b.mp3"', "a_b.mp3"),
        (b'; filename="a;b.mp3"', "a;b.mp3"),
        (b'; filename="C:\\x\\a.mp3"', "a.mp3"),
        (b'; filename=""', ""),
        ("; filename=é.mp3".encode(), "é.mp3"),
        (b"; x=\"; filename*=UTF-8''y\"", None),
    ],
)
async def test_files_names_are_read_as_clients_write_them_and_sent_on_plainly(said, read):
    body = FormBody(MODEL + field("file", b"1", said) + END, "multipart/form-data; boundary=x")
    [_, file] = await read_form(body.content, body.content_type)
    assert file.filename == read


odd = some.text(some.sampled_from("aé;=*'%\"\\ \t\r\n\x00:-,x"), max_size=12)
odd_bytes = some.binary(max_size=30) | some.sampled_from([b"\r\n--x", b"\r\n--", b"--x--"])
fields = some.tuples(odd, some.none() | odd, odd_bytes)


@given(some.lists(fields, max_size=5), some.booleans())
async def test_an_engine_reads_just_what_was_checked(written, changed):
    """Starlette, which engines read forms with, finds the same fields in what goes on."""
    content = MODEL
    for name, filename, value in written:
        more = "" if filename is None else f'; filename="{filename}"'
        content += field(name, value, more.encode())
    try:
        body = FormBody(content + END, "multipart/form-data; boundary=x")
    except errors.InvalidRequest:
        return
    body = body.replaced({"model": "a/b"}) if changed else body
    seen = await read_form(body.content, body.content_type)
    assert {read.name for read in seen} == body.fields
    assert len(seen) == len(written) + 1
    for read in seen:
        if read.filename is None and sum(other.name == read.name for other in seen) == 1:
            try:
                assert body.value(read.name) == read.content.decode()
            except errors.InvalidRequest:
                assert read.name not in ("model", "stream")
