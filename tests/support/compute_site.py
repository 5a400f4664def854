"""A site for tests: the real endpoint agent, our functions, and an engine double behind them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from compute_functions import endpoint_files, processes
from compute_functions.contract import InstanceState
from compute_functions.endpoint import Endpoint
from compute_functions.function_lock import FunctionLock
from compute_functions.instances import Registration
from compute_functions.site import SiteDirectory
from compute_functions.stubs import STUBS
from resource_server.domain.catalog import Cluster, Framework, GlobusComputeTarget, Transport
from tests.support.local_globus import LocalGlobus

FRAMEWORK = "vllm"
MODEL = "echo"
_REGISTER_TIMEOUT_S = 60.0


class EngineThatEchoes:
    """Answers with the body it got and its `status`. A body with `hold` waits for `release`."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self._released = asyncio.Event()

    def hold(self) -> None:
        """Keep the requests that ask for it, and forget those of earlier tests."""
        self.held.clear()
        self._released.clear()

    def release(self) -> None:
        """Let every held request go."""
        self._released.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        wanted = json.loads(body)
        if wanted.get("hold"):
            self.held.set()
            await self._released.wait()
        return web.Response(
            body=body, status=wanted.get("status", 200), content_type="application/json"
        )

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/{path:.*}", self.answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        try:
            yield
        finally:
            self.release()
            await runner.cleanup()


class ComputeSite:
    """A cluster's side of Globus Compute, run by the client `local` of a local Globus."""

    def __init__(
        self, folder: Path, globus: LocalGlobus, engine: EngineThatEchoes | None = None
    ) -> None:
        self._folder = folder
        self._globus = globus
        self._site = SiteDirectory(folder / "site")
        self._lock = folder / "functions.json"
        self.engine = engine or EngineThatEchoes()
        self.endpoint = Endpoint(
            name="local",
            user_dir=folder / "compute",
            environment={**os.environ, **globus.client_environment("local")},
        )

    @property
    def clients(self) -> Path:
        """The directory of the gateway's client files."""
        return self._globus.state / "clients"

    @property
    def site(self) -> SiteDirectory:
        """The site's directory."""
        return self._site

    def cluster(self, *, timeout_s: float = 60.0, **target: Any) -> Cluster:
        """Return the cluster as a catalog would name it; `target` replaces parts of its target."""
        lock = FunctionLock.read(self._lock)
        values: dict[str, Any] = {
            "client": "local",
            "endpoint_id": self.endpoint.status().id,
            "functions": {name: entry.id for name, entry in lock.functions.items()},
        }
        return Cluster(
            name="local",
            description="",
            frameworks={FRAMEWORK: Framework(name=FRAMEWORK)},
            transports=(Transport.TASK,),
            globus_compute=GlobusComputeTarget(**(values | target)),
            request_timeout_s=timeout_s,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start agent and engine, and stop them."""
        self._site.prepare()
        await self._register_functions()
        self.endpoint.configure(
            endpoint_files.Settings(
                templates=endpoint_files.TEMPLATES / "local",
                site_dir=self._site.root,
                allowed_functions=tuple(FunctionLock.read(self._lock).allowed(STUBS)),
                display_name="local",
                heartbeat_period=5,
                email="operator@example.org",
            )
        )
        socket_path = self._folder / "engine.sock"
        async with self.engine.listening(socket_path):
            self.register(MODEL, socket_path)
            await self.endpoint.start()
            try:
                yield
            finally:
                await self.endpoint.stop()

    def register(self, model: str, socket_path: Path) -> None:
        """Have a model served by the engine at a socket."""
        key = self._site.keys / model
        key.write_text("engine-key")
        Registration(
            name=model,
            model=model,
            framework=FRAMEWORK,
            state=InstanceState.READY,
            endpoint=str(socket_path),
            api_key_file=str(key),
            pid=os.getpid(),
            pid_start=processes.started(os.getpid()) or 0,
            job_id="1",
            host=socket.gethostname(),
            started_at=time.time(),
            heartbeat=time.time() + 3600,  # No launcher renews it during the test.
            paths={"/v1/chat/completions": "/v1/chat/completions"},
        ).write(self._site)

    async def _register_functions(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "compute_functions.register", "--lock", str(self._lock)),
            env=dict(self.endpoint.environment),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_REGISTER_TIMEOUT_S):
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()


@asynccontextmanager
async def compute_site(
    globus: LocalGlobus, engine: EngineThatEchoes | None = None
) -> AsyncIterator[ComputeSite]:
    """Run a site of `globus`, in a folder with a name short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        site = ComputeSite(Path(folder), globus, engine)
        async with site.running():
            yield site
