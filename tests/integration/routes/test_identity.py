from __future__ import annotations

import asyncio

import pytest

BASE = "/resource_server/local/vllm/v1"


async def whoami(service, authorization: str | None):
    headers = {} if authorization is None else {"Authorization": authorization}
    async with service.client.get("/resource_server/whoami", headers=headers) as response:
        return response.status, dict(response.headers), await response.json()


async def test_a_token_belongs_to_somebody(service):
    status, _, found = await whoami(service, f"Bearer {service.tokens['alice']}")
    assert status == 200
    assert found["username"] == "alice@example.org"
    assert found["idp_name"] == "Example University"
    assert len(found["user_group_uuids"]) == 2
    assert set(found) == {
        *("id", "name", "username", "user_group_uuids", "idp_id", "idp_name", "auth_service"),
        *("service_account", "identities"),
    }


@pytest.mark.row("C-68")
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", "Bearer a b"]
)
async def test_without_a_good_token_the_answer_says_how_to_get_one(service, authorization):
    status, headers, body = await whoami(service, authorization)
    assert status == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert "inference_auth_token.py" in body["error"]["message"]
    assert headers["WWW-Authenticate"] == "Bearer"
    assert headers["X-Request-ID"].startswith("req_")


async def test_the_scheme_s_case_does_not_matter(service):
    status, _, _ = await whoami(service, f"bearer {service.tokens['alice']}")
    assert status == 200


async def test_a_burst_with_one_new_token_asks_globus_once(service):
    token = await service.globus.token("alice@example.org")
    await service.globus.reset_counters()
    answers = await asyncio.gather(*(whoami(service, f"Bearer {token}") for _ in range(40)))
    assert {status for status, _, _ in answers} == {200}
    assert (await service.globus.counters())["introspection"] == 1


@pytest.mark.row("C-68")
async def test_a_revoked_token_that_was_not_seen_before_is_refused(service):
    token = await service.globus.token("bob@example.org")
    service.globus.native().oauth2_revoke_token(token)
    status, _, _ = await whoami(service, f"Bearer {token}")
    assert status == 401


async def test_while_globus_is_down_a_new_token_gets_503_and_a_known_one_is_served(service):
    known = await service.globus.token("alice@example.org")
    fresh = await service.globus.token("alice@example.org")
    assert (await whoami(service, f"Bearer {known}"))[0] == 200
    await service.globus.set_weather("auth", status=503)
    try:
        status, headers, body = await whoami(service, f"Bearer {fresh}")
        assert (status, body["error"]["code"]) == (503, "identity_service_unavailable")
        assert headers["Retry-After"]
        assert (await whoami(service, f"Bearer {known}"))[0] == 200
    finally:
        await service.globus.set_weather("auth")
    assert (await whoami(service, f"Bearer {fresh}"))[0] == 200
