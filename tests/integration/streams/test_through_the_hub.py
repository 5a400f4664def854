"""The whole way of a stream where web processes and hub are apart."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from resource_server.adapters.hub import HubBackend, HubConnection, HubServer
from resource_server.ports import InferenceBackend
from tests.support.eventually import eventually
from tests.support.gateway import SiteThatReports
from tests.support.streaming_gateway import Streaming, streaming_gateway
from tests.support.streams import DONE, BackendThatStreams, Chat
from tests.support.whole_places import PlaceWithoutEgress

ASKED = {"include_usage": True, "continuous_usage_stats": True}
CHUNKS = Chat(options=ASKED).events()
SEEN = Chat().events()


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A gateway, and the hub behind it, which can be stopped."""

    gateway: Streaming
    hub: AsyncExitStack


@asynccontextmanager
async def apart(backend: InferenceBackend) -> AsyncIterator[Apart]:
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        address = Path(folder) / "run" / "hub.sock"
        async with AsyncExitStack() as hub:
            server = HubServer(backend, SiteThatReports(), address, grace_s=0.1)
            await hub.enter_async_context(server)
            async with (
                HubConnection(address) as connection,
                HubBackend(connection) as web,
                streaming_gateway(web) as gateway,
            ):
                yield Apart(gateway=gateway, hub=hub)


async def test_a_stream_comes_whole():
    async with apart(BackendThatStreams(*CHUNKS)) as parts:
        assert (await parts.gateway.ask())[2] == b"".join(SEEN)
        line = await parts.gateway.line()
    assert (line["transport"], line["output_tokens"]) == ("relay", 3)


async def test_who_leaves_stops_the_engine_behind_the_hub():
    backend = BackendThatStreams(*CHUNKS[:2], asyncio.Event())
    async with apart(backend) as parts:
        async with await parts.gateway.raw() as client:
            await client.read_until(SEEN[1])
        await asyncio.wait_for(backend.streams[0].closed.wait(), 5)
        line = await parts.gateway.line()
    assert (line["status"], line["output_tokens"]) == (499, 1)


async def test_a_hub_that_stops_costs_its_streams_an_honest_error():
    backend = BackendThatStreams(*CHUNKS[:2], asyncio.Event())
    async with apart(backend) as parts:
        async with await parts.gateway.raw() as client:
            await client.read_until(SEEN[1])
            await parts.hub.aclose()
            rest = await client.read_until(b"0\r\n\r\n")
        line = await parts.gateway.line()
    assert b'"code":"backend_interrupted"' in rest
    assert b"[DONE]" not in rest
    assert (line["error_code"], line["output_tokens"]) == ("backend_interrupted", 1)


async def test_without_a_hub_the_caller_gets_a_status():
    async with apart(BackendThatStreams(DONE)) as parts:
        await parts.hub.aclose()
        status, headers, _ = await parts.gateway.ask()
    assert status == 503
    assert headers["x-should-retry"] == "true"


async def test_who_leaves_a_place_that_answers_whole_pays_when_the_answer_has_come():
    place = PlaceWithoutEgress()
    async with apart(place) as parts:
        async with await parts.gateway.raw():
            await asyncio.wait_for(place.sent.wait(), 10)
        line = await parts.gateway.line()
        place.come.set()
        events = parts.gateway.events
        await eventually(lambda: any(event["event"] == "late_answer" for event in events))
        [late] = [event for event in events if event["event"] == "late_answer"]
    assert (line["status"], line["client"]) == (499, "left")
    assert (late["result"], late["input_tokens"], late["output_tokens"]) == ("answered", 5, 2)
