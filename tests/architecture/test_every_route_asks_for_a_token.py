from __future__ import annotations

import aiohttp
import pytest

from resource_server.domain.catalog import Catalog
from resource_server.domain.errors import IdentityServiceUnavailable
from resource_server.domain.identity import Grant
from tests.support.catalogs import cluster, model
from tests.support.doubles import BackendThatEchoes
from tests.support.gateway import SiteThatReports, compose
from tests.support.served import served

#: Everything that anybody may ask without a token. A new entry is a decision.
PUBLIC = {
    ("get", "/health"),
    ("get", "/ready"),
    ("get", "/resource_server/health"),
    ("get", "/resource_server/ready"),
    ("get", "/resource_server/status"),
}

#: What stands for the names in paths.
NAMES = {
    "cluster": "local",
    "framework": "vllm",
    "name": "m",
    "project": "p",
    "file_id": "f",
    "batch_id": "b",
}


class ProviderThatIsAway:
    """Answers nobody."""

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        raise IdentityServiceUnavailable

    async def available(self) -> bool:
        return False


@pytest.fixture
async def client():
    from resource_server.api.body import Bodies
    from resource_server.api.errors import error_response
    from resource_server.api.handler import LeanHandler

    gateway = compose(
        Catalog([cluster()], [model("m")]),
        BackendThatEchoes(),
        SiteThatReports(),
        ProviderThatIsAway(),
    )
    await gateway.catalog.start()
    handler = LeanHandler(bodies=Bodies(max_bytes=1000), error_response=error_response)

    async def application(scope, receive, send):
        scope["state"] = {"gateway": gateway}
        await handler(scope, receive, send)

    async with served(application) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as c:
        yield c


async def test_every_route_without_a_token_answers_401_unless_it_is_public(client):
    async with client.get("/openapi.json") as response:
        paths = (await response.json())["paths"]
    answers = {}
    for path, operations in paths.items():
        concrete = path.format(**NAMES)
        assert "{" not in concrete, f"a value is missing for {path}"
        for method in operations:
            async with client.request(method, concrete, data=b'{"model": "m"}') as response:
                answers[method, path] = response.status
    assert len(answers) > len(PUBLIC)
    refused = {route for route, status in answers.items() if status == 401}
    assert set(answers) - refused == PUBLIC
