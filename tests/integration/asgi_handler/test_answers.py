from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import aiohttp
import pytest

from resource_server.api.exchange import WATCH_AFTER_S

REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")


async def error_of(response: aiohttp.ClientResponse) -> SimpleNamespace:
    assert response.content_type == "application/json"
    return SimpleNamespace(**(await response.json())["error"])


async def test_a_view_answers(front):
    async with front.client.get("plain") as response:
        assert response.status == 200
        assert await response.text() == "plain"
        assert response.headers["Content-Length"] == "5"


@pytest.mark.parametrize(
    "path", ["plain", "missing", "nowhere", "broken", "status/204", "stream", "file", "api/broken"]
)
async def test_every_response_carries_an_id_of_its_own(front, views, path):
    (views.folder / "file.js").write_text("x")
    views.release.set()
    ids = set()
    for _ in range(2):
        async with front.client.get(path) as response:
            assert response.headers.getall("x-request-id") == [response.headers["x-request-id"]]
            ids.add(response.headers["x-request-id"])
    assert len(ids) == 2
    assert all(REQUEST_ID.fullmatch(one) for one in ids)
    assert (await front.log.line_of(f"/{path}"))["request_id"] in ids


async def test_a_view_knows_the_id_and_its_own_header_gives_way(front):
    async with front.client.get("fields") as response:
        assert response.headers.getall("x-request-id") == [await response.text()]
        assert len(response.headers.getall("Set-Cookie")) == 2


async def test_the_line_in_the_log(front):
    async with front.client.get("fields?token=secret", data=b"a secret body") as response:
        text = await response.text()
    (line,) = front.log.lines()
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "http_request",
        "method": "GET",
        "path": "/fields",
        "route": "/fields",
        "status": 200,
        "bytes_out": len(text),
        "request_id": text,
        "model": "m",
    }


@pytest.mark.parametrize("path", ["broken", "api/broken"])
async def test_a_mistake_in_a_view_is_an_envelope_and_one_traceback(front, caplog, path):
    async with front.client.get(path) as response:
        assert response.status == 500
        assert (await error_of(response)).code == "internal_error"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "a mistake in" in str(record.exc_info[1])
    assert front.log.lines()[0]["status"] == 500


@pytest.mark.parametrize("path", ["missing", "nowhere", "%00", "api/nowhere"])
async def test_what_is_not_there_is_an_envelope(front, path):
    async with front.client.get(path) as response:
        assert response.status == 404
        error = await error_of(response)
    assert error.code == "not_found"
    assert "GET /" in error.message


async def test_another_method_is_an_envelope_that_names_the_allowed_ones(front):
    async with front.client.get("api/upload") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert (await error_of(response)).code == "method_not_allowed"


async def test_another_host_is_refused_in_one_line(front, caplog):
    async with front.client.get("host", headers={"Host": "elsewhere.example"}) as response:
        assert response.status == 400
        assert (await error_of(response)).code == "invalid_request"
    (event,) = front.log.events
    assert (event["status"], event["refused_host"]) == (400, "elsewhere.example")
    assert not caplog.records


async def test_a_urlconf_that_cannot_be_read_is_an_envelope(front, settings):
    settings.ROOT_URLCONF = "no_such_module"
    async with front.client.get("plain") as response:
        assert response.status == 500
        assert (await error_of(response)).code == "internal_error"
    (event,) = [event for event in front.log.events if event["event"] == "unhandled_error"]
    assert isinstance(event["exc_info"], ModuleNotFoundError)


async def test_an_answer_to_head_has_headers_and_no_body(front, views):
    async with await front.connect() as client:
        await client.send("HEAD /plain HTTP/1.1\nHost: localhost")
        status, headers = await client.head()
        assert (status, headers["content-length"]) == (200, "5")
        await client.send("GET /plain HTTP/1.1\nHost: localhost")
        assert (await client.response())[2] == b"plain"
    assert [line["bytes_out"] for line in front.log.lines()] == [0, 5]


async def test_head_does_not_start_a_stream(front, views):
    async with front.client.head("stream") as response:
        assert response.content_type == "text/event-stream"
    assert views.events.empty()


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_no_length(front, status):
    async with await front.connect() as client:
        await client.send(f"GET /status/{status} HTTP/1.1\nHost: localhost")
        answered, headers = await client.head()
        assert answered == status
        assert not headers.keys() & {"content-length", "transfer-encoding"}
        await client.send("GET /plain HTTP/1.1\nHost: localhost")
        assert (await client.response())[2] == b"plain"


async def test_pipelined_requests_are_answered_in_order(front):
    async with await front.connect() as client:
        request = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n"
        await client.send_bytes(request + b"one" + request + b"two" + request + b"six")
        answers = [await client.response() for _ in range(3)]
    assert [body for _, _, body in answers] == [b"one", b"two", b"six"]
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 3


async def test_contexts_of_concurrent_requests_do_not_mix(front, views):
    async def ask(name: str) -> tuple[str, str]:
        async with front.client.get(f"context/{name}") as response:
            return await response.text(), response.headers["x-request-id"]

    first = asyncio.create_task(ask("a"))
    await views.expect("in a")
    second = asyncio.create_task(ask("b"))
    await views.expect("in b")
    views.release.set()
    for name, task in {"a": first, "b": second}.items():
        text, request_id = await task
        assert text == f"['request_id'] {name} {request_id}"


async def test_contexts_of_pipelined_requests_do_not_mix(front, views):
    views.release.set()
    async with await front.connect() as client:
        request = b"GET /context/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await client.send_bytes(request % b"a" + request % b"b")
        for name in ("a", "b"):
            _, headers, body = await client.response()
            assert body.decode() == f"['request_id'] {name} {headers['x-request-id']}"


async def test_a_file_is_sent_whole(front, views):
    content = bytes(range(256)) * 1000
    (views.folder / "file.js").write_bytes(content)
    async with front.client.get("file") as response:
        assert response.content_type == "text/javascript"
        assert response.headers["Content-Length"] == str(len(content))
        assert await response.read() == content


async def test_a_plain_generator_blocks_nobody_and_is_closed(front, views):
    async with front.client.get("generator") as response:
        assert await response.content.readexactly(4) == b"one "
        async with front.client.get("plain") as other:
            assert await other.text() == "plain"
        await asyncio.sleep(2 * WATCH_AFTER_S)  # its client is watched by now
        views.blocked.set()
        assert await response.read() == b"two"
    assert (await front.log.line_of("/generator"))["status"] == 200
    assert views.seen["closed"]


async def test_an_iterator_that_cannot_be_closed_is_streamed(front):
    async with front.client.get("own-iterator") as response:
        assert await response.text() == "210"


async def test_synchronous_views_run_side_by_side(front):
    answers = await asyncio.gather(front.client.get("sync"), front.client.get("sync"))
    assert [await answer.text() for answer in answers] == ["together", "together"]


async def test_a_stream_that_breaks_is_cut_and_not_ended(front, caplog):
    async with front.client.get("torn") as response:
        assert await response.content.readexactly(6) == b"a part"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert front.log.lines()[0]["status"] == 500
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["a mistake in a stream"]
