"""A stream whose model has to be started: its caller is told how it stands, then it comes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from compute_functions.contract import InstanceState, ModelOutlook, Stage
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.services.vigil import WaitTimes
from tests.support.eventually import eventually
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance
from tests.support.streams import JSON_HEAD
from tests.support.waiting_gateway import EVENTS, Waited, waiting_gateway

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
OUTLOOK = ModelOutlook(model=MODEL, framework=FRAMEWORK, queue_s=60.0, load_s=40.0)


class Reader:
    """Reads a stream line by line, without its blank ones."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def line(self) -> str:
        async with asyncio.timeout(20):
            while not (line := (await self.response.content.readline()).decode()).strip():
                assert line, "the stream is over"
        return line.strip()

    async def until(self, *words: str) -> str:
        """Return the next comment with all these words."""
        while True:
            line = await self.line()
            assert line.startswith(":"), line
            if set(words) <= set(line.split()):
                return line

    async def rest(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.response.content.read()


def post(gateway: Waited, path: str = "/v1/chat/completions", **headers: str):
    return gateway.client.post(path, json=BODY, headers=headers)


@pytest.mark.row("A-2", "A-15", "C-7", "C-8", "C-55")
async def test_who_waits_is_told_how_it_stands_and_then_gets_the_stream(gateway: Waited):
    async with gateway.agent() as agent:
        await agent.observes(outlooks=[OUTLOOK])
        await gateway.seen_as("idle")
        async with post(gateway) as response:
            assert response.status == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["x-hotnode-waiting"] == "true"
            reader = Reader(response)
            assert "cluster=local" in (await reader.until("state=idle")).split()
            await agent.until_wanted(1)
            queued = instance(InstanceState.QUEUED, ahead=2)
            await agent.observes(queued, outlooks=[OUTLOOK])
            said = await reader.until("state=queued", "queue_position=3")
            assert "estimated_wait_s=" in said
            starting = instance(InstanceState.STARTING, stage=Stage.WEIGHTS)
            await agent.observes(starting, outlooks=[OUTLOOK])
            await reader.until("state=starting", "stage=weights")
            await gateway.load(agent)
            found = await reader.rest()
            assert found.lstrip().endswith(b"".join(EVENTS))
            # Nothing was sent in vain: the site knew that there was no instance.
            assert gateway.backend.refused == 0
        await agent.until(lambda: agent.wanted() == (0, 0))
    (line,) = gateway.lines()
    assert (line["status"], line["transport"], line["stream"]) == (200, "relay", True)
    assert line["wait_ms"] > 0
    scrape = await gateway.metrics()
    place = {"cluster": "local", "framework": FRAMEWORK, "model": MODEL}
    assert scrape.value("hotnode_cold_start_seconds_count", **place) == 1


async def test_who_leaves_is_counted_no_more(gateway: Waited):
    async with gateway.agent() as agent:
        async with post(gateway) as response:
            await Reader(response).until("state=idle")
            await agent.until_wanted(1)
            response.close()
        await agent.until_wanted(0)
        await eventually(gateway.lines)
    (line,) = gateway.lines()
    assert line["client"] == "left"


@pytest.mark.row("C-56")
async def test_all_who_wait_are_counted_and_all_are_answered(gateway: Waited):
    async with gateway.agent() as agent:

        async def ask() -> bytes:
            async with post(gateway) as response:
                return await Reader(response).rest()

        asked = [asyncio.create_task(ask()) for _ in range(20)]
        await agent.until_wanted(20)
        assert (await gateway.seen_as("idle"))["waiting_requests"] == 20
        await gateway.load(agent)
        for answer in await asyncio.gather(*asked):
            assert answer.endswith(b"".join(EVENTS))
        await agent.until_wanted(0)


@pytest.mark.parametrize("behind_hub", [True], ids=["behind-a-hub"], indirect=True)
async def test_an_instance_that_went_again_is_waited_for_once_more(gateway: Waited):
    async with gateway.agent() as agent, post(gateway) as response:
        reader = Reader(response)
        await reader.until("state=idle")
        # Its agent says that it is ready, and its engine says that it is not.
        await agent.observes(instance())
        await eventually(lambda: gateway.backend.refused >= 2)
        gateway.backend.loaded = True
        assert (await reader.rest()).endswith(b"".join(EVENTS))


async def test_who_cannot_be_led_to_an_instance_that_is_ready_is_told_so_and_let_go(
    tmp_path: Path, behind_hub: bool
):
    async with (
        waiting_gateway(
            tmp_path,
            behind_hub=behind_hub,
            times=WaitTimes(notice_s=0.05, again_s=0.05),
            unreached_s=0.5,
        ) as gateway,
        gateway.agent() as agent,
    ):
        await agent.observes(instance())
        await gateway.seen_as("ready")
        async with post(gateway) as response:
            reader = Reader(response)
            said = await reader.until("state=ready", "reason=no_way_leads_to_the_instance")
            assert "estimated_wait_s" not in said
            data = (await reader.rest()).partition(b"data: ")[2]
        error = json.loads(data)["error"]
        assert error["code"] == "model_unavailable"
        assert "no way leads to it" in error["message"]
        (place,) = (await gateway.model())["places"]
        assert place["reason"] == error["state"]["reason"] == "no way leads to the instance"
        assert "no way leads to it" in place["unavailable"]
        async with gateway.client.get("/resource_server/local/jobs") as response:
            (shown,) = (await response.json())["cluster_status"]["models"]
        assert (shown["Model State"], shown["Reason"]) == ("Live", place["reason"])
        # The next one waits no more.
        async with post(gateway) as response:
            assert response.status == 503
            assert int(response.headers["retry-after"]) > 0
        gateway.backend.loaded = True
        async with post(gateway) as response:
            assert (await Reader(response).rest()).endswith(b"".join(EVENTS))


async def test_comments_say_why_one_waits_as_the_list_of_models_does(gateway: Waited):
    async with gateway.agent() as agent:
        await agent.observes(instance(InstanceState.QUEUED, reason='Nodes required, "n1"'))
        await gateway.seen_as("queued")
        async with post(gateway) as response:
            await Reader(response).until("state=queued", 'reason=Nodes_required,_"n1"')


async def test_comments_come_though_nothing_changes(tmp_path: Path):
    times = WaitTimes(notice_s=0.05, again_s=0.05)
    async with (
        waiting_gateway(tmp_path, times=times) as gateway,
        gateway.agent(),
        post(gateway) as response,
    ):
        reader = Reader(response)
        for _ in range(5):
            await reader.until("state=idle")


async def test_a_wait_that_is_too_long_ends_in_an_error_with_the_state(gateway: Waited):
    async with gateway.agent() as agent:
        await agent.observes(outlooks=[OUTLOOK])
        async with post(gateway, **{"x-hotnode-wait": "0.2"}) as response:
            assert response.status == 200
            data = (await Reader(response).rest()).partition(b"data: ")[2]
    error = json.loads(data)["error"]
    assert error["code"] == "model_loading"
    assert error["state"] == {"cluster": "local", "state": "idle", "estimated_wait_s": 100}
    await eventually(gateway.lines)
    assert gateway.lines()[0]["error_code"] == "model_loading"


@pytest.mark.parametrize(
    ("path", "kind"), [("/v1/messages", b"event: error"), ("/v1/responses", b"event: error")]
)
async def test_other_dialects_get_it_in_their_own_words(tmp_path: Path, path: str, kind: bytes):
    def change(catalog: Catalog) -> Catalog:
        (only,) = catalog.models.values()
        served = replace(only, routes=("messages", "responses"))
        return Catalog(catalog.clusters.values(), [served], version=catalog.version)

    async with waiting_gateway(tmp_path, change=change) as gateway, gateway.agent():
        body = {"model": MODEL, "messages": [], "input": "x", "max_tokens": 5, "stream": True}
        headers = {"x-hotnode-wait": "0.1"}
        async with gateway.client.post(path, json=body, headers=headers) as response:
            said = await Reader(response).rest()
    assert kind in said
    assert b"model_loading" in said


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, b'{"error": {"message": "no such tool", "code": 7}}', 7, "no such tool"),
        # What the engine said cannot be said in an event.
        (400, b'{"error": "\xff"}', "backend_unavailable", "status 400"),
        (400, b"[" * 100_000, "backend_unavailable", "status 400"),
        (200, b'{"choices": []}', "backend_unavailable", "status 200"),
    ],
    ids=["its-words", "no-text", "too-deep", "no-stream"],
)
async def test_what_an_engine_refuses_after_a_wait_is_an_event(
    gateway: Waited, status: int, body: bytes, code: object, words: str
):
    async with gateway.agent() as agent, post(gateway) as response:
        await Reader(response).until("state=idle")
        gateway.backend.head = replace(JSON_HEAD, status=status)
        gateway.backend.script = lambda _: [body]
        await gateway.load(agent)
        data = (await Reader(response).rest()).partition(b"data: ")[2]
    error = json.loads(data)["error"]
    assert error["code"] == code
    assert words in error["message"]


async def test_a_stream_that_breaks_off_after_a_wait_says_so(gateway: Waited):
    async with gateway.agent() as agent, post(gateway) as response:
        await Reader(response).until("state=idle")
        gateway.backend.script = lambda _: [EVENTS[0], errors.BackendInterrupted()]
        await gateway.load(agent)
        said = await Reader(response).rest()
    assert EVENTS[0] in said
    assert b"backend_interrupted" in said
    assert b"[DONE]" not in said
