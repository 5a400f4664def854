"""Everything between a caller and an engine: stand-in, endpoint and gateway around a site."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import login
from lab.endpoint import endpoint, register
from lab.gateway import BY_TASKS, CLUSTER, Gateway, gateway, write_catalog
from lab.login import HELPER
from lab.relays import Enrolment
from lab.stand_in import StandIn, client_id, stand_in

CLIENT = "local"

Say = Callable[[str, str], None]


def silently(what: str, news: str) -> None:
    """Say nothing: for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service; its engine may be anyone's."""

    folder: Path
    globus: StandIn
    gateway: Gateway

    @property
    def base_url(self) -> str:
        """What the openai SDK calls `base_url`."""
        return f"{self.gateway.url}/resource_server/{CLUSTER}/vllm/v1"

    @property
    def tasks_url(self) -> str:
        """The base URL of the same models by Globus Compute alone; for a site that has enrolled."""
        return f"{self.gateway.url}/resource_server/{BY_TASKS}/vllm/v1"

    def login_environment(self, username: str) -> dict[str, str]:
        """Return the environment of a person's login helper, with a home of the lab's own."""
        return self.globus.environment() | {
            "HOME": str(self.folder / "people" / username),
            "HOTNODE_AUTH_CLIENT_ID": client_id("login-helper"),
            "HOTNODE_AUTH_GATEWAY_ID": client_id("gateway"),
        }

    async def token_of(self, username: str) -> str:
        """Log in as a seeded person with the login helper and return the access token."""
        environment = self.login_environment(username)
        await login.log_in(username, environment)
        return await login.access_token(environment)

    def write_token_command(self, username: str) -> Path:
        """Write a script that prints a fresh token of a person who has logged in."""
        script = self.folder / "token"
        names = ("HOME", "HOTNODE_AUTH_", "GLOBUS_SDK_", "http_proxy", "no_proxy", "NO_PROXY")
        exports = [
            f"export {name}={shlex.quote(value)}"
            for name, value in self.login_environment(username).items()
            if name.startswith(names)
        ]
        command = shlex.join([sys.executable, str(HELPER), "get_access_token"])
        script.write_text("\n".join(["#!/bin/sh", *exports, f"exec {command}\n"]), encoding="utf-8")
        script.chmod(0o700)
        return script


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
