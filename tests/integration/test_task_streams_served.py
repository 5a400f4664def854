"""A served gateway streams from a cluster that has nothing but Globus Compute."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from lab.gateway import Gateway, gateway
from lab.stand_in import StandIn
from tests.support.compute_site import FRAMEWORK, MODEL, ComputeSite, EngineThatEchoes, compute_site
from tests.support.eventually import eventually
from tests.support.gateway_processes import write_catalog
from tests.support.local_globus import LocalGlobus
from tests.support.paced_engine import PacedEngine

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


class EngineThatStreams(EngineThatEchoes):
    """Streams what it is asked for; a whole answer is a chat with one word."""

    def __init__(self) -> None:
        super().__init__()
        self.paced = PacedEngine()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if asked.get("stream"):
            return await self.paced.answer(request)
        if asked.get("hold"):
            await super().answer(request)
        if asked.get("status"):
            return web.json_response({"error": {"message": "no"}}, status=asked["status"])
        message = {"role": "assistant", "content": "Oslo"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
        return web.json_response(
            {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The gateway, and the engine at the end of the way."""

    gateway: Gateway
    site: ComputeSite
    engine: EngineThatStreams
    token: str

    def lines(self, event: str = "http_request") -> list[dict[str, Any]]:
        """Return what the gateway's log says of an event."""
        text = self.gateway.process.command.log.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def late(self, request_id: str) -> list[dict[str, Any]]:
        """Return what the log says of a request whose caller had left."""
        return [one for one in self.lines("late_answer") if one["request_id"] == request_id]

    @asynccontextmanager
    async def stream(
        self, *, cluster: str = "local", **body: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self.gateway.url}/resource_server/{cluster}/{FRAMEWORK}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=60)
        asked = {"model": MODEL, "messages": [], "stream": True, **body}
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.post(url, json=asked) as response,
        ):
            yield response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("gateway")
    engine = EngineThatStreams()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with LocalGlobus(folder / "globus") as globus, compute_site(globus, engine) as site:
        write_catalog(folder / "catalog", site, MODEL)
        _add_a_cluster_without_egress(folder / "catalog")
        async with gateway(
            folder,
            StandIn(url=globus.url, folder=globus.state),
            relay_port=str(port),
            relay_public_url=f"http://127.0.0.1:{port}",
            log_format="json",
        ) as running:
            token = await globus.token("alice@example.org")
            yield Served(gateway=running, site=site, engine=engine, token=token)


def _add_a_cluster_without_egress(catalog: Path) -> None:
    """Write the same cluster under another name, as one that cannot reach the gateway."""
    site = yaml.safe_load((catalog / "sites" / "local.yaml").read_text())
    site["cluster"], site["globus_compute"]["push"] = "silent", False
    (catalog / "sites" / "silent.yaml").write_text(yaml.safe_dump(site))
    file = catalog / "models" / f"{MODEL}.yaml"
    model = yaml.safe_load(file.read_text())
    model["deployments"].append({"cluster": "silent", "framework": FRAMEWORK})
    file.write_text(yaml.safe_dump(model))


def only(engine: PacedEngine) -> Any:
    """Return what the engine did for the one request that it has had."""
    (done,) = engine.served.values()
    return done


@pytest.mark.row("C-63")
async def test_events_arrive_while_the_engine_works_and_byte_for_byte(served: Served) -> None:
    paced = served.engine.paced
    paced.served.clear()
    paced.go.clear()
    async with served.stream(tokens=5, pause_at=3) as response:
        assert response.status == 200
        assert response.headers["x-hotnode-transport"] == "task"
        assert response.headers["x-hotnode-globus-task-id"]
        assert "x-hotnode-stream" not in response.headers
        first = await response.content.readuntil(b"\n\n")
        assert first.startswith(b'data: {"n":1,')
        paced.go.set()
        assert first + await response.read() == bytes(only(paced).said)


async def test_a_client_who_leaves_stops_the_engine(served: Served) -> None:
    paced = served.engine.paced
    paced.served.clear()
    paced.go.clear()
    async with served.stream(tokens=5, pause_at=3) as response:
        await response.content.readuntil(b"\n\n")
        response.close()
    await asyncio.wait_for(only(paced).hung_up.wait(), 10)


async def test_an_engine_that_keeps_its_answer_open_is_hung_up_on(served: Served) -> None:
    paced = served.engine.paced
    paced.served.clear()
    # Read to the end of the response, which comes long before an engine's silence is too long.
    async with served.stream(tokens=3, keeps_open=True) as response:
        body = await response.read()
    await asyncio.wait_for(only(paced).hung_up.wait(), 10)
    assert body == bytes(only(paced).said)


async def test_an_engine_that_breaks_off_ends_in_an_error_event(served: Served) -> None:
    paced = served.engine.paced
    paced.served.clear()
    async with served.stream(tokens=5, break_at=3) as response:
        body = await response.read()
    said = bytes(only(paced).said)
    assert body.startswith(said)
    assert b"[DONE]" not in body
    error = json.loads(body[len(said) :].strip().removeprefix(b"data: "))
    assert error["error"]["code"] == "backend_interrupted"


async def test_without_egress_the_answer_is_marked(served: Served) -> None:
    async with served.stream(cluster="silent", tokens=1) as response:
        body = await response.read()
    assert response.headers["x-hotnode-stream"] == "whole"
    assert response.headers["x-hotnode-transport"] == "task"
    assert response.headers["content-type"].startswith("text/event-stream")
    assert b'"content":"Oslo"' in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_without_egress_an_engine_s_refusal_is_its_status(served: Served) -> None:
    async with served.stream(cluster="silent", status=422) as response:
        assert (response.status, await response.json()) == (422, {"error": {"message": "no"}})
    assert response.headers["x-hotnode-stream"] == "whole"


@pytest.mark.row("U-14")
async def test_without_egress_comments_come_while_the_task_runs(served: Served) -> None:
    served.engine.hold()
    async with served.stream(cluster="silent", hold=True) as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-hotnode-stream"] == "whole"
        for _ in range(2):
            assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
        served.engine.release()
        body = await response.read()
    assert b'"content":"Oslo"' in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_without_egress_a_refusal_that_comes_late_is_an_error_event(served: Served) -> None:
    served.engine.hold()
    async with served.stream(cluster="silent", hold=True, status=422) as response:
        assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
        served.engine.release()
        body = await response.read()
    assert body.endswith(b'data: {"error":{"message":"no"}}\n\n')
    assert b"[DONE]" not in body


async def test_without_egress_who_leaves_pays_when_the_result_has_come(served: Served) -> None:
    served.engine.hold()
    async with served.stream(cluster="silent", hold=True) as response:
        await asyncio.wait_for(served.engine.held.wait(), 30)
        request_id = response.headers["x-request-id"]
        response.close()
    await eventually(lambda: [line for line in served.lines() if line["status"] == 499])
    assert not served.late(request_id)
    served.engine.release()
    await eventually(lambda: served.late(request_id), seconds=30)
    [line] = served.late(request_id)
    assert (line["result"], line["status"]) == ("answered", 200)
    assert (line["input_tokens"], line["output_tokens"]) == (5, 1)
