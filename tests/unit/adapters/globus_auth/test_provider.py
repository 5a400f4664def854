"""How the adapter asks Globus, and what it makes of answers that nobody expects."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from resource_server.domain import errors
from resource_server.domain.identity import Evaluations
from tests.support.auth_double import (
    DISCOVERY,
    GROUPS,
    INTROSPECT,
    TOKEN,
    Answer,
    AuthThatAnswers,
    active,
    said,
)

CALLERS_TOKEN = "A" * 90


@pytest_asyncio.fixture
async def auth() -> AsyncIterator[AuthThatAnswers]:
    async with AuthThatAnswers() as auth:
        yield auth


async def test_the_questions_are_the_documented_ones(auth: AuthThatAnswers) -> None:
    async with auth.provider() as provider:
        evaluated = {"p1": {"evaluation": True}, "p2": {"evaluation": True}}
        auth.answers[INTROSPECT] = active(policy_evaluations=evaluated)
        await provider.identify(CALLERS_TOKEN, policies=frozenset({"p2", "p1"}))
    assert auth.asked == [
        (
            INTROSPECT,
            {
                "token": CALLERS_TOKEN,
                "include": "session_info,identity_set_detail",
                "authentication_policies": "p1,p2",
            },
        ),
        (
            TOKEN,
            {
                "grant_type": "urn:globus:auth:grant_type:dependent_token",
                "token": CALLERS_TOKEN,
                "scope": "urn:globus:auth:scope:groups.api.globus.org:"
                "view_my_groups_and_memberships",
            },
        ),
        (GROUPS, {}),
    ]
    as_gateway = "Basic " + base64.b64encode(b"gateway:secret").decode()
    assert auth.authorizations == [as_gateway, as_gateway, "Bearer for-groups"]


async def test_without_policies_none_are_asked_about(auth: AuthThatAnswers) -> None:
    async with auth.provider(need_groups=False) as provider:
        await provider.identify(CALLERS_TOKEN)
    ((_, form),) = auth.asked
    assert "authentication_policies" not in form


async def test_for_a_token_that_is_no_good_nothing_more_is_asked(auth: AuthThatAnswers) -> None:
    auth.answers[INTROSPECT] = said({"active": False})
    async with auth.provider() as provider:
        with pytest.raises(errors.Unauthenticated):
            await provider.identify(CALLERS_TOKEN)
    assert [path for path, _ in auth.asked] == [INTROSPECT]


@pytest.mark.parametrize(
    "answer",
    [
        said([]),
        said("active"),
        said({"active": True}),
        lambda: web.Response(text="<html>captive portal</html>", content_type="text/html"),
        lambda: web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"}),
        said({}, 302),
        said({"error": "invalid_client"}, 401),
        said({"error": "forbidden"}, 403),
        said({"error": "invalid_request"}, 400),
        said({"error": "gone"}, 404),
        lambda: web.Response(status=200, body=b'\xff{"active": false}'),
    ],
)
async def test_answers_that_nobody_expects_refuse_nobody(
    auth: AuthThatAnswers, answer: Answer
) -> None:
    auth.answers[INTROSPECT] = answer
    async with auth.provider() as provider:
        with pytest.raises(errors.IdentityServiceUnavailable), capture_logs() as logs:
            await provider.identify(CALLERS_TOKEN)
    assert logs
    assert CALLERS_TOKEN not in repr(logs)


@pytest.mark.parametrize("path", [TOKEN, GROUPS])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_groups_that_cannot_be_had_refuse_nobody(
    auth: AuthThatAnswers, path: str, status: int
) -> None:
    auth.answers[path] = said({"error": "something"}, status)
    async with auth.provider() as provider:
        with pytest.raises(errors.IdentityServiceUnavailable):
            await provider.identify(CALLERS_TOKEN)


async def test_a_missing_consent_is_asked_for(auth: AuthThatAnswers) -> None:
    auth.answers[TOKEN] = said({"error": "dependent_consent_required"}, 403)
    async with auth.provider() as provider:
        with pytest.raises(errors.Unauthenticated, match="authenticate --force"):
            await provider.identify(CALLERS_TOKEN)


async def test_nobody_can_agree_for_a_service_account_so_it_is_in_no_group(
    auth: AuthThatAnswers,
) -> None:
    auth.answers[INTROSPECT] = active(username="5e40@clients.auth.globus.org")
    auth.answers[TOKEN] = said({"error": "dependent_consent_required"}, 403)
    async with auth.provider() as provider:
        grant = await provider.identify(CALLERS_TOKEN)
    assert grant.person.is_service_account
    assert grant.person.groups == frozenset()


async def test_a_policy_that_globus_does_not_know_closes_what_it_protects_alone(
    auth: AuthThatAnswers,
) -> None:
    async with auth.provider(need_groups=False) as provider:
        auth.evaluations = {"good": True}
        with capture_logs() as logs:
            asked = frozenset({"good", "misspelt"})
            grant = await provider.identify(CALLERS_TOKEN, policies=asked)
    assert grant.person.policies == Evaluations(asked=frozenset({"good"}), met=frozenset({"good"}))
    assert ("globus_policy_refused", "misspelt") in [
        (entry["event"], entry.get("policy")) for entry in logs
    ]


async def test_a_token_revoked_in_between_is_refused(auth: AuthThatAnswers) -> None:
    auth.answers[TOKEN] = said({"error": "invalid_grant"}, 400)
    async with auth.provider() as provider:
        with pytest.raises(errors.Unauthenticated):
            await provider.identify(CALLERS_TOKEN)


async def test_a_throttled_gateway_passes_the_wait_on(auth: AuthThatAnswers) -> None:
    def throttled(retry_after: str) -> web.Response:
        return web.json_response({}, status=429, headers={"Retry-After": retry_after})

    async with auth.provider() as provider:
        for retry_after, expected in (("7", 7.0), ("7200", 60.0), ("soon", 10.0)):
            auth.answers[INTROSPECT] = partial(throttled, retry_after)
            with pytest.raises(errors.IdentityServiceThrottled) as caught:
                await provider.identify(CALLERS_TOKEN)
            assert caught.value.retry_after_s == expected


async def test_availability_is_asked_once_in_a_while(auth: AuthThatAnswers) -> None:
    async with auth.provider() as provider:
        answers = await asyncio.gather(*(provider.available() for _ in range(20)))
    assert answers == [True] * 20
    assert auth.asked == [(DISCOVERY, {})]


@pytest.mark.parametrize("status", [404, 500])
async def test_a_globus_that_makes_no_sense_is_not_available(
    auth: AuthThatAnswers, status: int
) -> None:
    auth.answers[DISCOVERY] = said({}, status)
    async with auth.provider() as provider:
        assert not await provider.available()
