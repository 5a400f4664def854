"""Programs with credentials of their own."""

from __future__ import annotations

from dataclasses import replace

from tests.support.identity_service import SERVICE, service_of


async def test_a_listed_service_account_is_shown_as_such_and_needs_no_login(service):
    token = await service.globus.client_token("service-account")
    answer = await service.get("whoami", token)
    assert answer.status == 200
    assert answer.body["service_account"] is True
    assert answer.body["username"].endswith("@clients.auth.globus.org")
    assert [identity["logged_in_at"] for identity in answer.body["identities"]] == [None]


async def test_it_may_use_what_is_open_or_names_it(service):
    token = await service.globus.client_token("service-account")
    assert await service.usable(token) == {"open", "robots"}


async def test_one_that_is_not_listed_is_refused(globus):
    token = await globus.client_token("service-account")
    async with service_of(globus, rule=replace(SERVICE, service_accounts=frozenset())) as service:
        answer = await service.get("whoami", token)
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert "authenticate" not in answer.error["message"]
