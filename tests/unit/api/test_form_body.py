from __future__ import annotations

import os
from email.parser import BytesParser
from email.policy import HTTP

import aiohttp
import pytest

from resource_server.api.form_body import MAX_PARTS, MAX_VALUE_BYTES, FormBody
from resource_server.domain import errors

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
    message = BytesParser(policy=HTTP).parsebytes(head + body.content)
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


@pytest.mark.parametrize("word", ["false", "", "0"])
async def test_stream_is_off_unless_true(word):
    assert (await form(model="m", stream=word)).stream is False


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


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"]
)
def test_another_kind_of_body_is_told_what_the_route_takes(content_type):
    with pytest.raises(errors.InvalidRequest, match="multipart/form-data"):
        FormBody(b"", content_type)


HEAD = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n'


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", HEAD + b"m", HEAD + b"m\r\n--x\r\n", b"--x\r\nno colon\r\n\r\n"],
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
