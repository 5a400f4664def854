"""The gateway's wiring: one listener for relays and pushed answers, one backend for all ways."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest

from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.container.catalog import follow_catalog
from resource_server.container.clusters import open_transports
from resource_server.domain import errors
from tests.conftest import gateway_settings
from tests.support.direct_engines import asking, cluster_at, engine_at
from tests.support.paced_engine import PacedEngine

pytestmark = pytest.mark.usefixtures("database")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("public_url", "expected"), [("https://hub.example.org", 410), ("", 404)])
async def test_answers_are_taken_where_relays_are_if_sites_can_reach_it(
    tmp_path: Path, public_url: str, expected: int
) -> None:
    settings = gateway_settings(tmp_path, relay_port=free_port(), relay_public_url=public_url)
    async with (
        follow_catalog(settings) as catalog,
        open_transports(settings, Instrumentation(), catalog),
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{settings.relay_port}/relay/v1/streams/unknown", data=b"x"
        ) as answer,
    ):
        assert answer.status == expected


async def test_a_gateway_without_a_listener_reaches_what_it_can(tmp_path: Path) -> None:
    async with (
        open_transports(gateway_settings(tmp_path), Instrumentation(), None) as clusters,
        engine_at(PacedEngine()) as url,
    ):
        answer = await clusters.backend.infer(cluster_at(url), asking(plain=1))
        assert answer.transport == "direct"
        seen = await clusters.sites.observe(cluster_at(url))
        assert seen.instances == ()
        with pytest.raises(errors.BackendUnavailable):
            await clusters.backend.infer(cluster_at("http://127.0.0.1:9"), asking())
