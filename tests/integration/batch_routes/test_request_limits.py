"""Requests about files and batches are counted, by all workers together, apart from others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from resource_server.adapters.memory.limits import MemoryLimitStore
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.limits import RedisLimitStore
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.services.limits import Limits
from resource_server.services.shared_limits import SharedLimits
from tests.support.batch_gateway import BatchService, served_batches
from tests.support.batch_orders import lines
from tests.support.slurm_site import MODEL

pytestmark = pytest.mark.usefixtures("database")

#: One more is there every 20 seconds: no test here takes so long.
A_MINUTE = 3


@asynccontextmanager
async def worker(people, folder: Path, redis: str) -> AsyncIterator[BatchService]:
    """Serve a gateway that counts in Redis, as one of several workers."""
    rules = LimitRules(defaults=(Allowance(batch_requests_per_minute=A_MINUTE),))
    async with open_redis(redis) as link:
        store = SharedLimits(RedisLimitStore(link), MemoryLimitStore())
        async with (
            Limits(store, lambda: rules) as limits,
            served_batches(people, folder, limits=limits) as service,
        ):
            yield service


def routes(file_id: str, batch_id: str) -> list[tuple[str, str]]:
    file, batch = f"/v1/files/{file_id}", f"/v1/batches/{batch_id}"
    return [
        ("POST", "/v1/files"),
        ("GET", "/v1/files"),
        ("GET", file),
        ("GET", f"{file}/content"),
        ("DELETE", file),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches"),
        ("GET", "/resource_server/v1/batches"),
        ("GET", batch),
        ("GET", f"{batch}/result"),
        ("POST", f"{batch}/cancel"),
    ]


async def test_all_routes_count_and_say_when_to_come_back(
    people, tmp_path: Path, redis_database: str
) -> None:
    async with (
        worker(people, tmp_path / "files", redis_database) as service,
        worker(people, tmp_path / "files", redis_database) as other,
    ):
        file_id = await service.uploaded(lines())
        body = {"input_file_id": file_id}
        _, batch = await other.ask("POST", "/v1/batches", json=body)
        assert (await other.ask("GET", f"/v1/batches/{batch['id']}"))[0] == 200
        for method, path in routes(file_id, batch["id"]):
            said: dict[str, Any] = (
                {"json": body} if path == "/v1/batches" and method == "POST" else {}
            )
            asked = service.client.request(method, path, headers=service.headers(), **said)
            async with asked as response:
                error = (await response.json())["error"]
                assert response.status == 429, (method, path)
                assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
                assert "3 per minute about files and batches" in error["message"]
                assert 1 <= int(response.headers["Retry-After"]) <= 20
                assert response.headers["x-should-retry"] == "true"
                assert response.headers["x-ratelimit-limit-requests"] == "3"
                assert response.headers["x-ratelimit-remaining-requests"] == "0"
        # Somebody else's requests, and those to models, are counted apart.
        assert (await service.ask("GET", "/v1/files", "bob"))[0] == 200
        chat = {"model": MODEL, "messages": []}
        assert (await service.ask("POST", "/v1/chat/completions", json=chat))[0] == 200
        assert file_id in service.on_disk


async def test_the_openai_sdk_knows_it_for_what_it_is(
    people, tmp_path: Path, redis_database: str
) -> None:
    async with (
        worker(people, tmp_path / "files", redis_database) as service,
        openai.AsyncOpenAI(
            api_key=service.tokens["alice"], base_url=f"{service.url}/v1", max_retries=0
        ) as client,
    ):
        for _ in range(A_MINUTE):
            await client.batches.list()
        with pytest.raises(openai.RateLimitError) as refused:
            await client.files.create(file=("in.jsonl", lines(50_000)), purpose="batch")
        assert refused.value.code == "rate_limit_exceeded"
        assert service.on_disk == []
