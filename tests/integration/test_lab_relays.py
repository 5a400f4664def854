"""The lab's site enrols, and waits for its relays, as a person would see both."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from lab import relays
from lab.gateway import Gateway
from lab.processes import Command, running

CHAT = "hotnode/tiny-chat"


async def test_a_site_enrols_at_every_gateway_with_one_key(tmp_path: Path) -> None:
    first, second = await relays.enrol(tmp_path / "site", gateways=2)

    enrolment = json.loads((tmp_path / "site" / "relay" / "relay.json").read_text())
    assert enrolment["cluster"] == "local"
    assert enrolment["hubs"] == [
        f"ws://127.0.0.1:{one.port}/relay/v1/connect" for one in (first, second)
    ]
    assert first.public_key == second.public_key
    assert first.settings() == {
        "relay_host": "127.0.0.1",
        "relay_port": str(first.port),
        "relay_public_url": f"http://127.0.0.1:{first.port}",
    }


class GatewayThatSeesALinkComing:
    """Says on its page of metrics that a link dials, then that it is there."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def metrics(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Authorization"])
        ready = float(len(self.asked) > 2)
        place = f'cluster="local",framework="vllm",model="{CHAT}"'
        other = 'cluster="local",framework="vllm",model="hotnode/other"'
        return web.Response(
            text=f'hotnode_relay_links{{{place},state="ready"}} {ready}\n'
            f'hotnode_relay_links{{{place},state="parked"}} 1.0\n'
            f'hotnode_relay_links{{{other},state="ready"}} 1.0\n'
        )


@asynccontextmanager
async def served(double: GatewayThatSeesALinkComing, folder: Path) -> AsyncIterator[Gateway]:
    application = web.Application()
    application.router.add_get("/metrics", double.metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    command = Command(
        name="the gateway",
        arguments=[sys.executable, "-c", "import signal; signal.pause()"],
        log=folder / "gateway.log",
        environment={},
    )
    try:
        async with running(command) as process:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield Gateway(url=url, folder=folder, process=process)
    finally:
        await runner.cleanup()


async def test_a_model_has_dialled_when_the_gateway_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics_token").write_text("a-token\n")
    double = GatewayThatSeesALinkComing()
    async with served(double, tmp_path) as gateway, asyncio.timeout(20):
        await relays.dialled(gateway, CHAT)

    assert double.asked == ["Bearer a-token"] * 3
