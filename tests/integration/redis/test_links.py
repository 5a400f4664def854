"""The gateway's ways to Redis: what strangers set in motion has none in common with limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis.asyncio import Redis as RedisClient

from resource_server.config import Settings
from resource_server.container import open_gateway
from tests.conftest import gateway_settings

FUNCTIONS = ("run_request", "site_status")
#: One cluster, which nobody asks for anything.
CATALOG: dict[str, dict[str, object]] = {
    "sites/c.yaml": {
        "cluster": "c",
        "frameworks": {"vllm": {}},
        "globus_compute": {
            "client": "c",
            "endpoint_id": "00000000-0000-4000-8000-000000000001",
            "functions": dict.fromkeys(FUNCTIONS, "00000000-0000-4000-8000-000000000002"),
        },
    },
    "models/m.yaml": {"id": "a/b", "deployments": [{"cluster": "c", "framework": "vllm"}]},
}


def settings(folder: Path, redis_url: str) -> Settings:
    for name, values in CATALOG.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(json.dumps(values))
    return gateway_settings(folder, redis_url=redis_url)


@pytest.mark.usefixtures("database")
async def test_tokens_and_limits_have_connections_of_their_own(
    redis_database: str, tmp_path: Path
) -> None:
    async with (
        open_gateway(settings(tmp_path, redis_database)),
        RedisClient.from_url(redis_database) as client,
    ):
        names = {entry["name"] for entry in await client.client_list()}
    assert {"hotnode-tokens", "hotnode-limits"} <= names
