"""Who may use what, through the routes, with people of a Globus that behaves like the real one."""

from __future__ import annotations

import time

import pytest
from globus_sdk import gare

FORCE = "python inference_auth_token.py authenticate --force"
DAY_S = 86_400.0


@pytest.mark.row("C-38")
@pytest.mark.parametrize(
    ("username", "usable"),
    [
        ("alice@example.org", {"open", "daily", "domestic"}),
        ("bob@example.org", {"open", "private", "daily", "domestic", "by-domain", "robots"}),
        ("carol@partner.example", {"open", "daily", "by-domain"}),
        # Logged in from example.org, for which another group is needed.
        ("carol@example.org", {"open", "daily", "domestic"}),
        ("eve@evil.example", {"open"}),
    ],
)
async def test_everybody_gets_what_is_meant_for_them(service, username, usable):
    assert await service.usable(await service.globus.token(username)) == usable


@pytest.mark.row("C-38")
async def test_a_private_model_is_absent_for_others_everywhere(service):
    alice = await service.globus.token("alice@example.org")
    bob = await service.globus.token("bob@example.org")
    hidden = {"private", "by-domain", "robots"}
    assert not await service.listed(alice) & hidden
    assert await service.listed(bob) >= hidden
    for name in hidden | {"absent"}:
        for answer in (
            await service.ask(name, alice),
            await service.get(f"local/vllm/v1/models/{name}", alice),
        ):
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    jobs = await service.get("local/jobs", alice)
    endpoints = await service.get("list-endpoints", alice)
    for name in hidden:
        assert f'"{name}"' not in str(jobs.body).replace("'", '"')
        assert f'"{name}"' not in str(endpoints.body).replace("'", '"')


@pytest.mark.row("C-18")
@pytest.mark.row("C-19")
async def test_after_seven_days_everybody_logs_in_again(service):
    token = await service.globus.token("alice@example.org")
    await service.globus.age_sessions("alice@example.org", 7 * DAY_S)
    answer = await service.get("whoami", token)
    assert (answer.status, answer.error["code"]) == (403, "reauthentication_required")
    assert FORCE in answer.error["message"]
    assert "https://app.globus.org/logout" in answer.error["message"]
    assert "insufficient_user_authentication" in answer.headers["WWW-Authenticate"]
    renewed = await service.globus.token("alice@example.org")
    assert (await service.get("whoami", renewed)).status == 200


@pytest.mark.row("C-18")
async def test_a_model_with_a_deadline_of_its_own_closes_alone(forgetful):
    token = await forgetful.globus.token("bob@example.org")
    assert "daily" in await forgetful.usable(token)
    await forgetful.globus.age_sessions("bob@example.org", 13 * 3600)
    assert await forgetful.usable(token) == {"open", "private", "domestic", "by-domain", "robots"}
    answer = await forgetful.ask("daily", token)
    assert (answer.status, answer.error["code"]) == (403, "reauthentication_required")
    assert "the model 'daily'" in answer.error["message"]


@pytest.mark.row("C-18")
async def test_a_cluster_with_a_deadline_of_its_own_closes_alone(forgetful):
    token = await forgetful.globus.token("bob@example.org")
    assert (await forgetful.ask("assured-chat", token, at="assured")).status == 200
    await forgetful.globus.age_sessions("bob@example.org", 13 * 3600)
    answer = await forgetful.ask("assured-chat", token, at="assured")
    assert (answer.status, answer.error["code"]) == (403, "reauthentication_required")
    assert (await forgetful.ask("open", token)).status == 200


@pytest.mark.row("C-19")
async def test_globus_clients_read_what_to_ask_of_the_next_login(forgetful):
    token = await forgetful.globus.token("bob@example.org")
    await forgetful.globus.age_sessions("bob@example.org", 13 * 3600)
    answer = await forgetful.ask("daily", token)
    requirement = gare.to_gare(answer.body)
    assert requirement is not None
    wanted = requirement.authorization_parameters
    assert wanted.session_required_policies == ["90110000-0000-4000-8000-000000000002"]
    assert wanted.session_message == answer.error["message"]
    login = await forgetful.globus.login(
        "bob@example.org",
        session_required_policies=wanted.session_required_policies,
        prompt=wanted.prompt,
    )
    assert (await forgetful.ask("daily", login["access_token"])).status == 200


@pytest.mark.row("C-20")
@pytest.mark.row("C-70")
async def test_who_has_the_right_identity_linked_is_told_to_log_in_with_it(service):
    token = await service.globus.token("carol@partner.example")
    answer = await service.ask("domestic", token)
    assert (answer.status, answer.error["code"]) == (403, "reauthentication_required")
    for word in ("You are logged in as carol@partner.example", "carol@example.org", FORCE):
        assert word in answer.error["message"]
    wanted = gare.to_gare(answer.body).authorization_parameters
    assert wanted.session_required_single_domain == ["example.org"]
    login = await service.globus.login(
        "carol@example.org",
        session_required_single_domain=wanted.session_required_single_domain,
    )
    assert (await service.ask("domestic", login["access_token"])).status == 200


async def test_whoami_says_with_which_identity_one_is_logged_in(service):
    answer = await service.get("whoami", await service.globus.token("carol@example.org"))
    seen = {i["username"]: i["logged_in_at"] for i in answer.body["identities"]}
    assert seen["carol@partner.example"] is None
    assert abs(seen["carol@example.org"] - time.time()) < 60
    assert answer.body["service_account"] is False


@pytest.mark.row("C-17")
async def test_a_revocation_is_effective_when_the_cache_has_forgotten(forgetful):
    token = await forgetful.globus.token("bob@example.org")
    assert (await forgetful.get("whoami", token)).status == 200
    await forgetful.globus.revoke_all("bob@example.org")
    answer = await forgetful.get("whoami", token)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_token_for_another_service_is_refused(service):
    groups = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships"
    token = await service.globus.token("alice@example.org", groups)
    answer = await service.get("whoami", token)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
