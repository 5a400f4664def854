"""Five hundred people come at once, each with a token that nobody has seen."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.domain.catalog import AccessRule, Catalog
from resource_server.services.entrance import Entrance
from resource_server.services.tokens import Tokens
from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus

MANY = 500
LOGIN_HELPER = "10910000-0000-4000-8000-000000000001"


async def new_tokens(globus: LocalGlobus, count: int) -> list[str]:
    """Return tokens of one login, each as good and as new as if it came from another."""
    login = await globus.login("alice@example.org")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": login["refresh_token"],
        "client_id": LOGIN_HELPER,
    }
    url = f"{globus.auth_url}v2/oauth2/token"
    async with aiohttp.ClientSession() as session:

        async def refreshed() -> str:
            async with session.post(url, data=form) as response:
                return str((await response.json())["access_token"])

        tokens = await asyncio.gather(*(refreshed() for _ in range(count)))
    assert len(set(tokens)) == count
    return tokens


async def test_each_new_token_is_one_introspection_and_nobody_else_waits(service):
    known = await service.globus.token("bob@example.org")
    assert (await service.get("whoami", known)).status == 200
    tokens = await new_tokens(service.globus, MANY)
    await service.globus.reset_counters()
    await service.globus.set_weather("auth", delay_s=0.2)
    burst = [asyncio.create_task(service.get("whoami", token)) for token in tokens]
    while (await service.globus.counters()).get("introspection", 0) == 0:
        # The first questions are on their way; known people and probes do not queue behind them.
        assert (await service.get("whoami", known)).status == 200
    assert (await service.ask("open", known)).status == 200
    async with service.client.get("/health") as response:
        assert response.status == 200
    assert not all(task.done() for task in burst)
    answers = await asyncio.gather(*burst)
    assert {answer.status for answer in answers} == {200}
    assert (await service.globus.counters())["introspection"] == MANY


@pytest.mark.timeout(120)
async def test_two_processes_with_one_cache_ask_once_about_each(globus):
    tokens = await new_tokens(globus, MANY)
    client_id, secret = globus.client_credentials("gateway")
    cache = MemoryGrants()
    async with (
        GlobusAuth(
            client_id=client_id,
            client_secret=secret,
            scope=GATEWAY_SCOPE,
            auth_url=globus.auth_url,
            groups_url=globus.groups_url,
        ) as provider,
        asyncio.timeout(60),
    ):
        processes = [
            Tokens(
                provider,
                entrance=Entrance(AccessRule(), Catalog),
                cache=cache,
                key=b"k" * 32,
                ttl_s=600,
            )
            for _ in range(2)
        ]
        await globus.reset_counters()
        people = await asyncio.gather(
            *(process.authenticate(token) for token in tokens for process in processes)
        )
    assert {person.primary.username for person in people} == {"alice@example.org"}
    assert (await globus.counters())["introspection"] == MANY
