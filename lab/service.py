"""Everything between a caller and an engine: stand-in, endpoint and gateway around a site."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.endpoint import endpoint, register
from lab.gateway import BY_TASKS, CLUSTER, Gateway, gateway, write_catalog
from lab.people import People
from lab.relays import Enrolment
from lab.stand_in import stand_in

CLIENT = "local"

Say = Callable[[str, str], None]


def silently(what: str, news: str) -> None:
    """Say nothing: for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(People):
    """A running service; its engine may be anyone's."""

    gateway: Gateway

    @property
    def base_url(self) -> str:
        """What the openai SDK calls `base_url`."""
        return f"{self.gateway.url}/resource_server/{CLUSTER}/vllm/v1"

    @property
    def tasks_url(self) -> str:
        """The base URL of the same models by Globus Compute alone; for a site that has enrolled."""
        return f"{self.gateway.url}/resource_server/{BY_TASKS}/vllm/v1"


@asynccontextmanager
async def service(
    folder: Path,
    site_dir: Path,
    *,
    enrolment: Enrolment | None = None,
    say: Say = silently,
    port: int = 0,
    **settings: str,
) -> AsyncIterator[Service]:
    """Run a service beside the body, in front of whatever engines `site_dir` registers.

    With the site's enrolment it takes relays. `settings` are the gateway's.
    """
    async with AsyncExitStack() as stack:
        globus = await stack.enter_async_context(stand_in(folder / "globus"))
        say("globus", f"a stand-in at {globus.url}")
        lock = folder / "functions.lock.json"
        await register(lock, globus, client=CLIENT)
        agent = await stack.enter_async_context(
            endpoint(folder / "endpoint", globus, client=CLIENT, lock=lock, site_dir=site_dir)
        )
        say("endpoint", f"globus-compute-endpoint {agent.id}")
        front = folder / "gateway"
        write_catalog(
            front / "catalog",
            endpoint_id=agent.id,
            functions=lock,
            client=CLIENT,
            public_key=enrolment.public_key if enrolment else "",
        )
        settings = (enrolment.settings() if enrolment else {}) | settings
        running = await stack.enter_async_context(gateway(front, globus, port=port, **settings))
        say("gateway", running.url)
        yield Service(folder=folder, globus=globus, gateway=running)
