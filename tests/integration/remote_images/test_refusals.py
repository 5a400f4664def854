"""What is not fetched, and what the caller is told, with a real host of images."""

from __future__ import annotations

import asyncio
import gzip
import json
from ipaddress import ip_address

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.remote_images import RemoteImages
from resource_server.adapters.remote_images.addresses import is_public
from resource_server.adapters.remote_images.bulk import MAX_VALUES
from resource_server.adapters.remote_images.images import REQUESTS_AT_ONCE
from resource_server.api.json_body import JsonBody
from resource_server.domain.errors import ImagesBusy, InvalidImage, InvalidRequest
from tests.support.certificates import make_authority
from tests.support.image_bodies import chat, named
from tests.support.image_host import PNG, ImageHost, answer, redirect

PLACE = "messages[0].content[1].image_url.url"
UNREACHABLE = "its host cannot be reached over https from here"


async def refused(images: RemoteImages, *urls: str) -> InvalidImage:
    with pytest.raises(InvalidImage) as error:
        await images.inlined(chat(*urls))
    assert error.value.param is not None
    return error.value


@pytest.mark.parametrize(
    "url",
    [
        "http://images.test/a.png",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "//images.test/a.png",
        "ftp://images.test/a.png",
        " https://images.test/a.png",
        "https://",
        "https://[::1/a.png",
        "https://" + "x" * 64 + ".test/a.png",
        "https://images.test:port/a.png",
        "gopher:x",
        "",
    ],
)
async def test_only_https_addresses_are_asked(host, images, names, url):
    error = await refused(images, url)
    assert error.param == PLACE
    assert PLACE in error.message
    assert (host.asked, names.asked) == ([], [])


async def test_nothing_is_asked_if_one_of_the_addresses_is_refused(host, images):
    error = await refused(images, host.url("/a.png"), "file:///etc/passwd")
    assert error.param == "messages[0].content[2].image_url.url"
    assert host.asked == []


async def test_credentials_and_other_ports_are_refused(host, images):
    assert "password" in (await refused(images, f"https://me:you@images.test:{host.port}/")).message
    assert "port 443" in (await refused(images, "https://images.test/a.png")).message


@pytest.mark.parametrize("key", ["audio_url", "video_url", "file_url"])
async def test_what_is_no_image_is_not_fetched(host, images, key):
    part = {"type": key, key: {"url": host.url("/a.png")}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(InvalidImage) as error:
        await images.inlined(JsonBody(json.dumps(body).encode()))
    assert error.value.param == f"messages[0].content[0].{key}.url"


async def test_a_name_written_with_escapes_hides_nothing(host, images):
    body = json.dumps(
        {"model": "m", "messages": [{"content": [{"image_url": "file:///etc/passwd"}]}]}
    ).replace("image_url", "\\u0069mage\\u005furl")
    with pytest.raises(InvalidImage):
        await images.inlined(JsonBody(body.encode()))


@pytest.mark.parametrize(
    "host_part",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"],
)
async def test_no_way_to_write_the_loopback_is_connected_to(host, make_images, names, host_part):
    names.addresses = {name: ["127.0.0.1"] for name in ("127.1", "2130706433")}
    async with make_images(may_connect=is_public) as images:
        error = await refused(images, host.url("/a.png", host_part))
    assert UNREACHABLE in error.message
    assert host.names == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["93.184.215.14", "127.0.0.1"], ["fd00::1"]],
)
async def test_a_name_that_leads_inside_is_refused_whatever_else_it_has(
    host, make_images, names, addresses
):
    names.addresses["images.test"] = addresses
    tried: list[str] = []

    def is_public_and_noted(address: str) -> bool:
        tried.append(address)
        return is_public(address)

    async with make_images(may_connect=is_public_and_noted) as images:
        error = await refused(images, host.url("/a.png"))
    assert UNREACHABLE in error.message
    assert set(tried) <= {str(ip_address(address)) for address in addresses}
    assert host.names == []


async def test_a_name_that_changes_its_address_is_checked_again(host, make_images, names):
    """The redirect leads to the same name, which by then leads elsewhere (DNS rebinding)."""
    host.paths["/1"] = redirect("/a.png")

    def only_at_first(address: str) -> bool:
        return address == "127.0.0.1" and len(names.asked) == 1

    async with make_images(may_connect=only_at_first) as images:
        error = await refused(images, host.url("/1"))
    assert UNREACHABLE in error.message
    assert host.paths_asked() == ["/1"]


@pytest.mark.parametrize(
    "location",
    ["http://images.test/a.png", "file:///etc/passwd", "https://me@images.test/", "https://[::1]/"],
)
async def test_a_redirect_is_held_to_the_same_rules(host, images, location):
    host.paths["/1"] = redirect(location)
    await refused(images, host.url("/1"))
    assert host.paths_asked() == ["/1"]


async def test_a_fourth_redirect_is_not_followed(host, images):
    for number in range(1, 6):
        host.paths[f"/{number}"] = redirect(f"/{number + 1}")
    assert "redirects" in (await refused(images, host.url("/1"))).message
    assert host.paths_asked() == ["/1", "/2", "/3", "/4"]


async def test_inside_all_failures_look_the_same(host, make_images, names, tmp_path):
    """An open port, a closed one, no such name, a foreign certificate: one answer for all."""
    names.addresses |= {"inside.test": ["10.0.0.1"], "nowhere.test": []}
    other = make_authority(tmp_path, "images.test")
    async with ImageHost(other) as stranger:
        closed = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        free_port = closed.sockets[0].getsockname()[1]
        closed.close()
        await closed.wait_closed()
        ports = (host.port, stranger.port, free_port)
        async with make_images(ports=ports) as allowed:
            said = {
                (await refused(allowed, url)).message
                for url in (
                    host.url("/a.png", "inside.test"),
                    host.url("/a.png", "wrong-name.test"),
                    stranger.url("/a.png"),
                    f"https://images.test:{free_port}/a.png",
                    host.url("/a.png", "nowhere.test"),
                )
            }
    assert said == {f"What '{PLACE}' names could not be fetched: {UNREACHABLE}."}


async def test_the_log_says_why_but_not_what(host, make_images):
    with capture_logs() as events:
        async with make_images(may_connect=is_public) as images:
            await refused(images, host.url("/secret.png"))
    assert [(e["event"], e["reason"]) for e in events] == [("image_not_fetched", "AddressRefused")]
    assert "secret" not in repr(events)


@pytest.mark.parametrize(
    "response",
    [
        answer(b"<html>no picture</html>"),
        answer(PNG, headers={"Content-Type": "text/html"}),
        answer(b"", status="204 No Content"),
        answer(PNG, status="404 Not Found"),
        answer(gzip.compress(PNG), headers={"Content-Encoding": "gzip"}),
        answer(PNG, headers={"Content-Length": str(len(PNG) + 1)}),
        b"no HTTP at all\r\n\r\n",
    ],
)
async def test_what_holds_no_image_is_refused(host, images, response):
    host.paths["/x"] = response
    assert (await refused(images, host.url("/x"))).param == PLACE


async def test_too_large_an_image_is_not_read_to_its_end(host, make_images):
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + PNG)
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
            # Of a connection that is gone, drain learns from the loop alone.
            await asyncio.sleep(0)

    host.paths["/endless"] = endless
    async with make_images(max_image_bytes=1_000_000) as images:
        error = await refused(images, host.url("/endless"))
    assert "1000000 bytes" in error.message


async def test_images_are_counted_together_and_as_often_as_they_are_named(host, make_images):
    url = host.url("/a.png")
    async with make_images(max_request_bytes=2 * len(PNG)) as images:
        assert len(named(await images.inlined(chat(url, url)))) == 2
        error = await refused(images, url, url, url)
    assert "together" in error.message


async def test_too_many_images_are_refused_before_any_is_fetched(host, make_images):
    async with make_images(max_images=2) as images:
        error = await refused(images, *[host.url("/a.png")] * 3)
    assert error.param == "messages[0].content[3].image_url.url"
    assert host.asked == []


async def test_a_host_that_never_answers_costs_the_request_s_time_and_no_more(host, make_images):
    left = asyncio.Event()

    async def silent(writer: asyncio.StreamWriter) -> None:
        try:
            await writer.wait_closed()
        finally:
            left.set()

    host.paths["/silent"] = silent
    async with make_images(timeout_s=0.3) as images:
        error = await refused(images, host.url("/silent"))
        assert "0.3 seconds" in error.message
        async with asyncio.timeout(10):
            await left.wait()


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [(("images.test",), True), (("*.test",), True), (("other.test",), False), (("test",), False)],
)
async def test_hosts_may_be_limited_to_a_list(host, make_images, hosts, allowed):
    async with make_images(hosts=hosts) as images:
        if allowed:
            assert named(await images.inlined(chat(host.url("/a.png", "images.test"))))
        else:
            await refused(images, host.url("/a.png"))
            assert host.asked == []


async def test_a_centre_may_fetch_nothing_at_all(host, make_images):
    async with make_images(fetch=False) as images:
        assert "data URL" in (await refused(images, host.url("/a.png"))).message
        assert named(await images.inlined(chat("data:image/png;base64,AAAA")))


@pytest.mark.parametrize("value", ["{}", "0", "[]"])
async def test_a_body_of_too_many_values_is_refused_before_it_is_read(images, value):
    """The reading alone would stop the process for seconds."""
    many = ",".join([value] * (MAX_VALUES + 1))
    body = f'{{"model": "m", "input": [{many}, {{"image_url": "file:///x"}}], "query": "_url"}}'
    with pytest.raises(InvalidRequest, match="too many to look for images in") as refused:
        await images.inlined(JsonBody(body.encode()))
    assert refused.value.param == "input"


class Held:
    """Requests that have their turn and do not give it back until the end."""

    def __init__(self, host: ImageHost) -> None:
        self._asked = asyncio.Semaphore(0)
        self._end = asyncio.Event()
        host.paths["/held"] = self._hold
        self._url = host.url("/held")

    async def _hold(self, writer: asyncio.StreamWriter) -> None:
        self._asked.release()
        await self._end.wait()
        writer.write(answer(PNG))
        await writer.drain()

    async def take_all_turns(self, images: RemoteImages, group: asyncio.TaskGroup) -> None:
        for _ in range(REQUESTS_AT_ONCE):
            group.create_task(images.inlined(chat(self._url)))
        for _ in range(REQUESTS_AT_ONCE):
            await self._asked.acquire()

    def end(self) -> None:
        self._end.set()


async def test_who_gets_no_turn_is_told_to_try_again(host, make_images):
    held = Held(host)
    async with (
        asyncio.timeout(60),
        make_images(turn_within_s=0.1) as images,
        asyncio.TaskGroup() as group,
    ):
        await held.take_all_turns(images, group)
        with pytest.raises(ImagesBusy) as busy:
            await images.inlined(chat(host.url("/a.png")))
        held.end()
    assert busy.value.retry_after_s is not None
    assert "/a.png" not in host.paths_asked()


async def test_waiting_for_a_turn_costs_none_of_a_request_s_time(host, make_images):
    """Before the last one has its turn, others have used up the time of a request twice."""

    async def silent(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    host.paths["/silent"] = silent
    async with make_images(timeout_s=1, turn_within_s=60) as images:
        slow = [images.inlined(chat(host.url("/silent"))) for _ in range(2 * REQUESTS_AT_ONCE)]
        *others, last = await asyncio.gather(
            *slow, images.inlined(chat(host.url("/a.png"))), return_exceptions=True
        )
    assert all(isinstance(other, InvalidImage) for other in others)
    assert not isinstance(last, BaseException)
    assert named(last)[0].startswith("data:image/png;")
