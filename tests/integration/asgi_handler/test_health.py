from __future__ import annotations

import aiohttp
import pytest

from resource_server.domain.catalog import Catalog
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import served_gateway
from tests.support.local_globus import LocalGlobus


@pytest.mark.parametrize("path", ["/health", "/ready", "/resource_server/health"])
async def test_a_load_balancer_may_ask_with_head(path):
    async with (
        LocalGlobus() as globus,
        served_gateway(globus, Catalog([], []), backend=BackendThatEchoes()) as url,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(url + path) as response:
            length = response.headers["Content-Length"]
        async with client.head(url + path) as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == length
            assert await response.read() == b""
        async with client.get(f"{url}/openapi.json") as response:
            assert "head" not in (await response.json())["paths"][path]
