"""A site whose answers are pushed, and the hub that they are pushed to."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from compute_functions import run_request
from compute_functions.contract import EngineRequest, SiteReply, read_reply
from compute_functions.contract.pushes import Push
from compute_functions.site import VARIABLE, SiteDirectory
from resource_server.adapters.pushed_streams import PushedStream, PushedStreams
from tests.support.engine_doubles import FRAMEWORK, MODEL, listening, registration
from tests.support.paced_engine import PacedEngine, Served
from tests.support.push_hub import push_hub

REQUEST = EngineRequest(
    request_id="r-1",
    framework=FRAMEWORK,
    model=MODEL,
    path="/v1/chat/completions",
    body=b"{}",
    timeout_s=20.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushingSite:
    """A site with one engine, and the hub that waits for its answers."""

    hub: PushedStreams
    engine: PacedEngine
    directory: SiteDirectory
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def served(self) -> Served:
        return self.engine.served["r-1"]

    def ask(self, push: Push, **changes: Any) -> asyncio.Task[SiteReply]:
        """Run the function as Globus Compute would, beside the test; return its result."""
        said = changes.pop("said", {})
        body = json.dumps(said).encode()
        values: dict[str, Any] = {"body": body, "push": push}
        request = dataclasses.replace(REQUEST, **(values | changes))
        wire = json.loads(json.dumps(request.to_wire()))

        async def run() -> SiteReply:
            return read_reply(json.loads(json.dumps(await run_request.answer(wire))))

        task = asyncio.create_task(run())
        self.tasks.append(task)
        return task

    def begin(self, **said: Any) -> tuple[PushedStream, asyncio.Task[SiteReply]]:
        """Expect an answer and have it pushed."""
        stream, push = self.hub.expect("cluster", silence_s=20.0)
        return stream, self.ask(push, said=said)


@pytest_asyncio.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PushingSite]:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    engine = PacedEngine()
    async with push_hub() as hub, listening(engine) as socket:
        directory = SiteDirectory(tmp_path)
        registration(directory, socket)
        site = PushingSite(hub=hub, engine=engine, directory=directory)
        yield site
        for task in site.tasks:
            task.cancel()
        if site.tasks:
            await asyncio.wait(site.tasks)
