"""What becomes of a body that names images, with a real host of images."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode

import pytest

from resource_server.adapters.remote_images.bulk import MAX_VALUES
from resource_server.api.form_body import FormBody
from resource_server.api.json_body import JsonBody
from tests.support.image_bodies import chat, named
from tests.support.image_host import GIF, JPEG, PNG, WEBP, answer, redirect


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{b64encode(content).decode()}"


@pytest.mark.row("U-17")
@pytest.mark.row("A-10")
async def test_a_chat_s_image_arrives_as_a_data_url(host, images):
    body = await images.inlined(chat(host.url("/a.png")))
    assert named(body) == [data_url(PNG)]


async def test_everything_but_the_images_keeps_its_bytes(host, images):
    url = host.url("/a.png")
    before = (
        b'{"model":  "m", "temperature": 1.50, "messages": [{"role": "user", "content": '
        b'[{"type": "image_url", "image_url": "%b"}]}], "top_k": 5}' % url.encode()
    )
    after = (await images.inlined(JsonBody(before))).content
    assert b'"temperature":1.50' in after
    assert json.loads(after)["messages"][0]["content"][0]["image_url"] == data_url(PNG)


async def test_images_of_responses_and_of_messages_are_found(host, images):
    url = host.url("/a.png")
    body = {
        "model": "m",
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "url", "url": url}},
                    {
                        "type": "tool_result",
                        "content": [{"type": "image", "source": {"type": "url", "url": url}}],
                    },
                ],
            }
        ],
    }
    after = json.loads((await images.inlined(JsonBody(json.dumps(body).encode()))).content)
    assert after["input"][0]["content"][0]["image_url"] == data_url(PNG)
    direct, result = after["messages"][0]["content"]
    for source in (direct["source"], result["content"][0]["source"]):
        assert {**source, "data": b64decode(source["data"])} == {
            "type": "base64",
            "media_type": "image/png",
            "data": PNG,
        }
    assert host.paths_asked() == ["/a.png"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
async def test_the_bytes_say_what_an_image_is(host, images, content, media_type):
    host.paths["/x"] = answer(content, headers={"Content-Type": "application/octet-stream"})
    assert named(await images.inlined(chat(host.url("/x")))) == [data_url(content, media_type)]


@pytest.mark.row("C-32")
@pytest.mark.row("U-16")
@pytest.mark.parametrize(
    "body",
    [
        chat(data_url(PNG)),
        chat("DATA:image/png;base64,AAAA"),
        JsonBody(b'{"model": "m", "messages": [{"role": "user", "content": "see http://x.test"}]}'),
        JsonBody(b'{"model": "m", "input": ["https://x.test/a.png"], "note": {"image_url": "x"}}'),
    ],
)
async def test_a_body_that_names_nothing_remote_is_the_very_same(images, body):
    assert await images.inlined(body) is body


async def test_what_a_model_gave_to_a_tool_is_left_alone(images):
    content = {"type": "tool_use", "id": "t", "name": "n", "input": {"image_url": "file:///x"}}
    message = {"role": "assistant", "content": [content]}
    body = JsonBody(json.dumps({"model": "m", "messages": [message]}).encode())
    assert await images.inlined(body) is body


async def test_an_image_named_twice_is_fetched_once(host, images):
    url = host.url("/a.png")
    assert named(await images.inlined(chat(url, data_url(GIF), url))) == [
        data_url(PNG),
        data_url(GIF),
        data_url(PNG),
    ]
    assert host.paths_asked() == ["/a.png"]


async def test_redirects_are_followed_and_keep_no_cookies(host, images):
    host.paths["/1"] = redirect("/2")
    host.paths["/2"] = redirect(host.url("/3"))
    host.paths["/3"] = redirect("a.png")
    assert named(await images.inlined(chat(host.url("/1")))) == [data_url(PNG)]
    assert host.paths_asked() == ["/1", "/2", "/3", "/a.png"]
    assert "cookie" not in "".join(host.asked).lower()


async def test_the_name_is_looked_up_once_and_shown_to_the_host(host, images, names):
    await images.inlined(chat(host.url("/a.png")))
    assert names.asked == ["images.test"]
    assert host.names == ["images.test"]
    assert f"Host: images.test:{host.port}" in host.asked[0]


async def test_a_proxy_of_the_environment_is_not_used(host, images, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert named(await images.inlined(chat(host.url("/a.png")))) == [data_url(PNG)]


async def test_several_images_are_fetched_at_once_but_never_all_of_many(host, images):
    here, most, full = 0, 0, asyncio.Event()

    async def wait_for_others(writer: asyncio.StreamWriter) -> None:
        nonlocal here, most
        here += 1
        most = max(most, here)
        if here == 4:
            full.set()
        await full.wait()
        here -= 1
        writer.write(answer(PNG))
        await writer.drain()

    paths = [f"/{number}.png" for number in range(12)]
    host.paths |= dict.fromkeys(paths, wait_for_others)
    body = await images.inlined(chat(*(host.url(path) for path in paths)))
    assert named(body) == [data_url(PNG)] * 12
    assert most == 4


@pytest.mark.parametrize(
    "field", ["text_1", "text_2", "items", "previous_input_messages", "data_1", "queries"]
)
async def test_every_field_that_engines_take_images_in_is_searched(host, images, field):
    value = [{"content": [{"image_url": host.url("/a.png")}]}]
    body = JsonBody(json.dumps({"model": "m", field: value}).encode())
    after = json.loads((await images.inlined(body)).content)
    assert after[field] == [{"content": [{"image_url": data_url(PNG)}]}]


async def test_a_field_that_is_not_searched_may_hold_any_number_of_values(host, images):
    body = {"model": "m", "input": host.url("/a.png"), "data": [{}] * (MAX_VALUES + 1)}
    assert await images.inlined(whole := JsonBody(json.dumps(body).encode())) is whole


async def test_a_form_is_not_searched(images):
    head = b"--x\r\nContent-Disposition: form-data; name="
    content = head + b'"model"\r\n\r\nm\r\n' + head + b'"input"\r\n\r\nimage_url'
    content += b"{" * MAX_VALUES + b"\r\n--x--\r\n"
    form = FormBody(content, "multipart/form-data; boundary=x")
    assert await images.inlined(form) is form
