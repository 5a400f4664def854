"""`serve --workers 2` with relays: a site that enrols dials the hub, and web processes use it."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.support.compute_site import MODEL
from tests.support.eventually import eventually, eventually_so
from tests.support.gateway_processes import Processes
from tests.support.relay_double import Dialler, echoing
from tests.support.relay_site import RelaySite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def enrol(site: RelaySite, catalog: Path) -> None:
    """Put the site's key into its file."""
    file = catalog / "sites" / f"{site.cluster}.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values |= {"relay": {"public_key": site.public_key}, "transports": ["relay", "task"]}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")


async def test_a_site_s_relay_serves_every_web_process(processes: Processes) -> None:
    site, port = RelaySite.enrolled(processes.site.cluster().name), free_port()
    with tempfile.TemporaryDirectory(prefix="hotnode-") as folder:
        async with (
            processes.served(Path(folder), relay_port=str(port)) as running,
            Dialler.to(port) as dialler,
        ):

            async def has_read_the_catalog() -> bool:
                return await dialler.refused(site.credential(model=MODEL)) == 403

            # Until then it answers 503.
            await eventually_so(has_read_the_catalog, seconds=60, every_s=0.1)
            # The files of the gateway whose controller is active: they share a database.
            enrol(site, processes.gateway.catalog)

            # Whose key is another one: 403 before the cluster has a key, and 401 then.
            stranger = RelaySite.enrolled(site.cluster)

            async def enrolled() -> bool:
                return await dialler.refused(stranger.credential()) == 401

            await eventually_so(enrolled, seconds=60, every_s=0.1)
            credential = site.credential(model=MODEL)
            relay = await dialler.dial(credential)
            await relay.hello()

            async def all_by_relay() -> bool:
                replies = [await running.ask(n=n) for n in range(20)]
                assert [reply.body["n"] for reply in replies] == list(range(20))
                return {reply.headers["x-hotnode-transport"] for reply in replies} == {"relay"}

            async with echoing(relay):
                # Each web process reads the catalog by itself, and until then goes by task.
                await eventually_so(all_by_relay, seconds=60, every_s=0.1)

            # A hub that is new knows the credential, though not the link.
            await running.kill("hub")
            await eventually(lambda: len(running.log("relays_listened_for")) == 2, seconds=60)
            # Until it has read the catalog it answers 503.
            await eventually_so(enrolled, seconds=60, every_s=0.1)
            assert await dialler.refused(credential) == 401
            assert relay.accept is not None
            again = await dialler.dial(relay.accept.session)
            assert not (await again.hello(hub=relay.accept.hub)).resumed
