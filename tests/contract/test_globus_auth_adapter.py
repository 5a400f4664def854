"""The identity provider's contract, kept by the adapter and its double; and Globus' own ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.domain import errors
from resource_server.domain.identity import Evaluations
from resource_server.ports import IdentityProvider
from tests.support.doubles import IdentityProviderWithPeople, person
from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus

GROUP = "94090000-0000-4000-8000-000000000001"
PRIVATE_GROUP = "94090000-0000-4000-8000-000000000003"
DOMAIN_POLICY = "90110000-0000-4000-8000-000000000001"
HIGH_ASSURANCE = "90110000-0000-4000-8000-000000000002"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A provider, the token of somebody it knows, and a way to end its service."""

    provider: IdentityProvider
    token: str
    go_away: Callable[[], Awaitable[None]]


def globus_auth(globus: LocalGlobus, **settings: Any) -> GlobusAuth:
    client_id, secret = globus.client_credentials("gateway")
    values = {
        "client_id": client_id,
        "client_secret": secret,
        "scope": GATEWAY_SCOPE,
        "auth_url": globus.auth_url,
        "groups_url": globus.groups_url,
    }
    return GlobusAuth(**(values | settings))


@pytest_asyncio.fixture
async def globus() -> AsyncIterator[LocalGlobus]:
    async with LocalGlobus() as globus:
        yield globus


@asynccontextmanager
async def real() -> AsyncIterator[Known]:
    async with LocalGlobus() as globus, globus_auth(globus) as provider:

        async def go_away() -> None:
            await globus.set_weather("auth", status=503)

        token = await globus.token("alice@example.org")
        yield Known(provider=provider, token=token, go_away=go_away)


@asynccontextmanager
async def double() -> AsyncIterator[Known]:
    provider = IdentityProviderWithPeople({"token": person("alice@example.org", GROUP)})

    async def go_away() -> None:
        provider.away = True

    yield Known(provider=provider, token="token", go_away=go_away)


@pytest_asyncio.fixture(params=[real, double])
async def known(request: pytest.FixtureRequest) -> AsyncIterator[Known]:
    async with request.param() as known:
        yield known


async def test_a_token_leads_to_its_holder(known: Known) -> None:
    grant = await known.provider.identify(known.token)
    assert grant.person.primary.username == "alice@example.org"
    assert grant.person.primary.domain == "example.org"
    assert GROUP in grant.person.groups
    assert grant.expires_at > 1_700_000_000


async def test_an_unknown_token_is_refused(known: Known) -> None:
    with pytest.raises(errors.Unauthenticated):
        await known.provider.identify("unknown" * 6)


async def test_while_the_provider_is_away_nobody_is_refused(known: Known) -> None:
    await known.go_away()
    with pytest.raises(errors.IdentityServiceUnavailable) as caught:
        await known.provider.identify(known.token)
    assert caught.value.retry_after_s


async def test_the_provider_is_available(known: Known) -> None:
    assert await known.provider.available()


async def test_a_provider_that_is_away_says_so(known: Known) -> None:
    await known.go_away()
    assert not await known.provider.available()


# What follows is about Globus alone.


async def test_everything_about_a_person_is_read(globus: LocalGlobus) -> None:
    async with globus_auth(globus) as provider:
        grant = await provider.identify(await globus.token("carol@partner.example"))
    holder = grant.person
    assert holder.primary.idp_name == "Partner Institute"
    assert [identity.username for identity in holder.linked] == ["carol@example.org"]
    assert holder.name == "Carol Partner"
    assert holder.groups == {GROUP}  # She was only invited to the private one.
    assert [sorted(identity.groups) for identity in holder.identities] == [[GROUP], []]


async def test_the_identity_that_was_used_to_log_in_is_known(globus: LocalGlobus) -> None:
    async with globus_auth(globus) as provider:
        grant = await provider.identify(await globus.token("carol@example.org"))
    assert grant.person.primary.username == "carol@partner.example"
    (used,) = grant.person.logged_in()
    assert used.username == "carol@example.org"
    assert used.authentication is not None
    assert used.authentication.idp_id == used.idp_id
    assert abs(used.authentication.at - time.time()) < 60


async def test_a_service_account_is_a_person_too(globus: LocalGlobus) -> None:
    async with globus_auth(globus) as provider:
        grant = await provider.identify(await globus.client_token("service-account"))
    assert grant.person.is_service_account
    assert list(grant.person.logged_in()) == []
    assert grant.person.groups == {GROUP}


async def test_one_token_is_one_introspection(globus: LocalGlobus) -> None:
    token = await globus.token("bob@example.org")
    await globus.reset_counters()
    async with globus_auth(globus) as provider:
        grant = await provider.identify(token)
    assert grant.person.groups == {GROUP, PRIVATE_GROUP}
    assert (await globus.counters())["introspection"] == 1


async def test_groups_are_not_asked_for_where_nobody_needs_them(globus: LocalGlobus) -> None:
    token = await globus.token("bob@example.org")
    await globus.set_weather("groups", status=503)
    async with globus_auth(globus, need_groups=False) as provider:
        grant = await provider.identify(token)
    assert grant.person.groups == frozenset()


async def test_a_revoked_token_is_refused(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    await globus.revoke_all("alice@example.org")
    async with globus_auth(globus) as provider:
        with pytest.raises(errors.Unauthenticated, match="revoked"):
            await provider.identify(token)


@pytest.mark.row("C-17")
async def test_an_expired_token_is_refused(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    await globus.advance_clock(48 * 3600 + 1)
    async with globus_auth(globus) as provider:
        with pytest.raises(errors.Unauthenticated, match="get_access_token"):
            await provider.identify(token)


async def test_a_token_for_another_service_is_refused(globus: LocalGlobus) -> None:
    groups = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships"
    token = await globus.token("alice@example.org", groups)
    async with globus_auth(globus) as provider:
        with pytest.raises(errors.Unauthenticated):
            await provider.identify(token)


@pytest.mark.row("C-18")
@pytest.mark.row("C-19")
async def test_a_login_is_held_against_policies_as_it_ages(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    both = frozenset({DOMAIN_POLICY, HIGH_ASSURANCE})
    async with globus_auth(globus) as provider:
        fresh = await provider.identify(token, policies=both)
        await globus.age_sessions("alice@example.org", 13 * 3600)
        old = await provider.identify(token, policies=both)
    assert fresh.person.policies == Evaluations(asked=both, met=both)
    assert old.person.policies == Evaluations(asked=both, met=frozenset({DOMAIN_POLICY}))


async def test_a_policy_that_does_not_exist_is_not_met_and_does_no_other_harm(
    globus: LocalGlobus,
) -> None:
    token = await globus.token("alice@example.org")
    unknown = "00000000-0000-4000-8000-00000000dead"
    known = frozenset({DOMAIN_POLICY})
    async with globus_auth(globus) as provider:
        grant = await provider.identify(token, policies=known | {unknown})
    assert grant.person.policies == Evaluations(asked=known, met=known)


@pytest.mark.parametrize("service", ["auth", "groups"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, errors.IdentityServiceUnavailable),
        (503, errors.IdentityServiceUnavailable),
        (429, errors.IdentityServiceThrottled),
    ],
)
async def test_trouble_at_globus_refuses_nobody(
    globus: LocalGlobus, service: str, status: int, error: type[errors.UpstreamError]
) -> None:
    token = await globus.token("alice@example.org")
    await globus.set_weather(service, status=status)
    async with globus_auth(globus) as provider:
        with pytest.raises(error):
            await provider.identify(token)


async def test_a_slow_globus_is_given_up(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    await globus.set_weather("auth", delay_s=2)
    async with globus_auth(globus, timeout_s=0.2) as provider:
        with pytest.raises(errors.IdentityServiceUnavailable):
            await provider.identify(token)
    await globus.set_weather("auth")


async def test_a_globus_that_is_not_there_refuses_nobody(globus: LocalGlobus) -> None:
    async with globus_auth(globus, auth_url="http://127.0.0.1:9/") as provider:
        with pytest.raises(errors.IdentityServiceUnavailable):
            await provider.identify("token" * 10)
        assert not await provider.available()


async def test_a_wrong_secret_of_the_gateway_is_no_fault_of_the_caller(
    globus: LocalGlobus,
) -> None:
    token = await globus.token("alice@example.org")
    async with globus_auth(globus, client_secret="wrong") as provider:
        with pytest.raises(errors.IdentityServiceUnavailable), capture_logs() as logs:
            await provider.identify(token)
    entries = [(entry["event"], entry["log_level"]) for entry in logs]
    assert ("globus_auth_refused_gateway", "error") in entries


async def test_tokens_do_not_reach_the_log(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    with capture_logs() as logs:
        async with globus_auth(globus) as provider:
            await provider.identify(token)
            await globus.set_weather("auth", status=503)
            with pytest.raises(errors.IdentityServiceUnavailable):
                await provider.identify(token)
    assert logs
    assert token not in repr(logs)


async def test_many_callers_at_once_are_all_answered(globus: LocalGlobus) -> None:
    token = await globus.token("alice@example.org")
    async with globus_auth(globus, need_groups=False) as provider:
        grants = await asyncio.gather(*(provider.identify(token) for _ in range(250)))
    assert len({grant.person.primary.id for grant in grants}) == 1
