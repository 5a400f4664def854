"""Globus Auth of the local Globus answers the SDK as Globus publishes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import globus_sdk
import pytest
import pytest_asyncio
import requests
from globus_sdk.scopes import AuthScopes, GroupsScopes

from tests.support.globus_shapes import assert_shaped_like, published
from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus

T = TypeVar("T")
GATEWAY = "9a7e0000-0000-4000-8000-000000000001"
ALICE = "a11ce000-0000-4000-8000-000000000001"
CAROL = "ca201000-0000-4000-8000-000000000001"
CAROL_AT_EXAMPLE = "ca201000-0000-4000-8000-000000000002"
PARTNER_PROVIDER = "3f6b1c1e-0000-4000-8000-000000000002"
DOMAIN_POLICY = "90110000-0000-4000-8000-000000000001"
HIGH_ASSURANCE = "90110000-0000-4000-8000-000000000002"
MY_GROUPS = str(GroupsScopes.view_my_groups_and_memberships)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[LocalGlobus]:
    """Start one local Globus for the tests that leave it as it was."""
    async with LocalGlobus() as globus:
        yield globus


@pytest.fixture
async def own() -> AsyncIterator[LocalGlobus]:
    """Start a local Globus that a test may upset."""
    async with LocalGlobus() as globus:
        yield globus


async def as_gateway(
    globus: LocalGlobus, work: Callable[[globus_sdk.ConfidentialAppAuthClient], T]
) -> T:
    """Let `work` use an SDK client of the gateway, in a thread."""

    def run() -> T:
        with globus.confidential("gateway") as client:
            return work(client)

    return await asyncio.to_thread(run)


async def introspect(globus: LocalGlobus, token: str, **fields: str) -> dict[str, Any]:
    body = {"token": token, **fields}
    path = "/v2/oauth2/token/introspect"
    return await as_gateway(
        globus, lambda client: dict(client.post(path, data=body, encoding="form").data)
    )


async def is_active(globus: LocalGlobus, token: str) -> bool:
    return bool((await introspect(globus, token))["active"])


async def test_client_credentials_have_the_published_shape(shared: LocalGlobus) -> None:
    call = globus_sdk.ConfidentialAppAuthClient.oauth2_client_credentials_tokens
    plain = await as_gateway(shared, lambda c: c.oauth2_client_credentials_tokens(GATEWAY_SCOPE))
    openid = await as_gateway(shared, lambda c: c.oauth2_client_credentials_tokens("openid"))

    assert_shaped_like(plain.data, published(call))
    assert_shaped_like(openid.data, published(call, "openid"))


async def test_a_login_gives_a_token_for_each_service(shared: LocalGlobus) -> None:
    tokens = await shared.login("alice@example.org", ["openid", "email", GATEWAY_SCOPE])

    call = globus_sdk.NativeAppAuthClient.oauth2_exchange_code_for_tokens
    assert_shaped_like(tokens.data, published(call, "openid"))
    one = {key: published(call)[key] for key in ("access_token", "scope", "expires_in")}
    assert_shaped_like(tokens.data["other_tokens"], [one | {"refresh_token": "text"}])
    assert set(tokens.by_resource_server) == {"auth.globus.org", GATEWAY}
    assert tokens.by_resource_server[GATEWAY]["scope"] == GATEWAY_SCOPE
    assert tokens.by_resource_server["auth.globus.org"]["scope"] == "openid email"


async def test_the_id_token_is_verified_by_the_sdk(shared: LocalGlobus) -> None:
    tokens = await shared.login("alice@example.org", ["openid", "email", "profile"])

    def decode() -> dict[str, Any]:
        with shared.native() as client:
            decoder = globus_sdk.IDTokenDecoder(client)
            return decoder.decode(tokens["id_token"])

    claims = await asyncio.to_thread(decode)
    assert (claims["sub"], claims["email"]) == (ALICE, "alice@example.org")
    assert claims["iss"] == f"{shared.url}/auth"


async def test_a_code_works_once_and_only_with_its_verifier(shared: LocalGlobus) -> None:
    def attempt() -> tuple[int, int]:
        with shared.native() as client, shared.native() as thief:
            client.oauth2_start_flow(requested_scopes=[GATEWAY_SCOPE])
            thief.oauth2_start_flow(requested_scopes=[GATEWAY_SCOPE])
            stolen = shared.approve(client.oauth2_get_authorize_url(), "alice@example.org")
            with pytest.raises(globus_sdk.AuthAPIError) as of_thief:
                thief.oauth2_exchange_code_for_tokens(stolen)
            with pytest.raises(globus_sdk.AuthAPIError) as again:
                client.oauth2_exchange_code_for_tokens(stolen)
            return of_thief.value.http_status, again.value.http_status

    assert await asyncio.to_thread(attempt) == (401, 401)


async def test_the_login_page_offers_every_identity_and_no_client(shared: LocalGlobus) -> None:
    with shared.native() as client:
        client.oauth2_start_flow(requested_scopes=[GATEWAY_SCOPE], state="7")
        url = client.oauth2_get_authorize_url(session_message="Say <who> you are")
    page = await asyncio.to_thread(requests.get, url, timeout=10)

    for username in ("alice@example.org", "carol@partner.example", "carol@example.org"):
        assert f'value="{username}"' in page.text
    assert "clients.auth.globus.org" not in page.text
    assert "Say &lt;who&gt; you are" in page.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"redirect_uri": "https://evil.example/"}, 400),
        ({"redirect_uri": "http://localhost.evil.example/"}, 400),
        ({"redirect_uri": "javascript://localhost/"}, 400),
        ({"scope": "https://auth.globus.org/scopes/nobody/nothing"}, 400),
        ({"scope": f"{GATEWAY_SCOPE}["}, 400),
        ({"client_id": "nobody"}, 400),
        ({"response_type": "token"}, 400),
        ({"code_challenge_method": "plain"}, 400),
        ({"redirect_uri": "http://localhost:8080/callback"}, 200),
    ],
)
async def test_an_authorization_request_is_checked(
    shared: LocalGlobus, change: dict[str, str], status: int
) -> None:
    query = {
        "client_id": "10910000-0000-4000-8000-000000000001",
        "redirect_uri": f"{shared.url}/auth/v2/web/auth-code",
        "scope": GATEWAY_SCOPE,
        "response_type": "code",
        "code_challenge": "x",
        "code_challenge_method": "S256",
    }
    url = f"{shared.auth_url}v2/oauth2/authorize"
    answer = await asyncio.to_thread(requests.get, url, params=query | change, timeout=10)

    assert answer.status_code == status


async def test_a_login_must_meet_the_policies_that_the_client_requires(
    shared: LocalGlobus,
) -> None:
    required = {"session_required_policies": [HIGH_ASSURANCE], "prompt": "login"}

    assert (await shared.login("carol@partner.example", **required))["access_token"]
    with pytest.raises(requests.HTTPError, match="403"):
        await shared.login("eve@evil.example", **required)


async def test_a_login_must_use_a_domain_that_the_client_requires(shared: LocalGlobus) -> None:
    required = {"session_required_single_domain": ["example.org", "anl.gov"]}

    assert (await shared.login("carol@example.org", **required))["access_token"]
    with pytest.raises(requests.HTTPError, match="403"):
        await shared.login("carol@partner.example", **required)


async def test_a_refresh_token_renews_access_for_its_client_alone(shared: LocalGlobus) -> None:
    first = await shared.login("alice@example.org", [GATEWAY_SCOPE])

    def renew() -> globus_sdk.OAuthTokenResponse:
        with shared.native() as client:
            return client.oauth2_refresh_token(first["refresh_token"])

    renewed = await asyncio.to_thread(renew)
    assert renewed["access_token"] != first["access_token"]
    assert (await introspect(shared, renewed["access_token"]))["sub"] == ALICE
    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        await as_gateway(shared, lambda c: c.oauth2_refresh_token(first["refresh_token"]))
    error: Any = refused.value.raw_json
    assert (refused.value.http_status, error["error"]) == (400, "invalid_grant")


async def test_dependent_tokens_are_a_list_for_the_declared_scopes(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org")
    call = globus_sdk.ConfidentialAppAuthClient.oauth2_get_dependent_tokens
    given = await as_gateway(
        shared, lambda c: c.oauth2_get_dependent_tokens(token, refresh_tokens=True)
    )

    assert_shaped_like(given.data, published(call, "groups_with_refresh_token"))
    assert given.by_resource_server["groups.api.globus.org"]["scope"] == MY_GROUPS
    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        await as_gateway(shared, lambda c: c.oauth2_get_dependent_tokens(token, scope="openid"))
    assert refused.value.http_status == 403
    error: Any = refused.value.raw_json
    assert error["error"] == "dependent_consent_required"
    assert error["errors"][0]["unapproved_scopes"] == ["openid"]


async def test_dependent_tokens_are_for_the_service_that_the_token_is_for(
    shared: LocalGlobus,
) -> None:
    token = await shared.token("alice@example.org", "openid")

    with pytest.raises(globus_sdk.AuthAPIError, match="invalid_grant"):
        await as_gateway(shared, lambda c: c.oauth2_get_dependent_tokens(token))


async def test_introspection_has_the_published_shape_and_what_was_asked_for(
    shared: LocalGlobus,
) -> None:
    tokens = await shared.login("carol@example.org", [GATEWAY_SCOPE])
    included = "identity_set,identity_set_detail,session_info"
    seen = await introspect(shared, tokens["access_token"], include=included)

    call = globus_sdk.ConfidentialAppAuthClient.oauth2_token_introspect
    assert_shaped_like(seen, published(call))
    assert (seen["sub"], seen["username"]) == (CAROL, "carol@partner.example")
    assert seen["aud"] == [GATEWAY, "10910000-0000-4000-8000-000000000001"]
    assert seen["identity_set"] == [CAROL, CAROL_AT_EXAMPLE]
    assert seen["identity_set_detail"][0]["identity_provider"] == PARTNER_PROVIDER
    assert list(seen["session_info"]["authentications"]) == [CAROL_AT_EXAMPLE]
    assert "policy_evaluations" not in seen


async def test_nothing_is_included_that_was_not_asked_for(shared: LocalGlobus) -> None:
    seen = await introspect(shared, await shared.token("alice@example.org"))

    assert not {"identity_set", "identity_set_detail", "session_info"} & set(seen)


async def test_a_client_that_the_token_does_not_concern_learns_nothing(
    shared: LocalGlobus,
) -> None:
    token = await shared.token("alice@example.org", "openid")

    assert await introspect(shared, token) == {"active": False}
    assert await introspect(shared, "no such token") == {"active": False}


async def test_only_confidential_clients_introspect(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org")
    url = f"{shared.auth_url}v2/oauth2/token/introspect"
    public = {"token": token, "client_id": "10910000-0000-4000-8000-000000000001"}

    for fields, credentials in (
        (public, None),
        ({"token": token}, None),
        ({"token": token}, (GATEWAY, "wrong")),
        ({"token": token}, (GATEWAY, "")),
    ):
        answer = await asyncio.to_thread(
            requests.post, url, data=fields, auth=credentials, timeout=10
        )
        assert answer.status_code == 401
        assert_shaped_like(
            answer.json(), published(globus_sdk.AuthClient.get_identities, "unauthorized")
        )


@pytest.mark.parametrize(
    ("username", "domain", "assurance"),
    [
        ("alice@example.org", True, True),
        ("carol@partner.example", True, True),
        ("carol@example.org", True, True),
        ("eve@evil.example", False, False),
    ],
)
async def test_policies_are_evaluated_for_account_and_session(
    shared: LocalGlobus, username: str, domain: bool, assurance: bool
) -> None:
    token = await shared.token(username)
    named = f"{DOMAIN_POLICY},{HIGH_ASSURANCE}"
    seen = await introspect(shared, token, authentication_policies=named)

    assert seen["policy_evaluations"] == {
        DOMAIN_POLICY: {"evaluation": domain},
        HIGH_ASSURANCE: {"evaluation": assurance},
    }


async def test_an_unknown_policy_is_an_error_not_a_pass(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org")

    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        await introspect(shared, token, authentication_policies=GATEWAY)
    assert refused.value.http_status == 400


async def test_high_assurance_ends_when_the_login_is_old(own: LocalGlobus) -> None:
    async def assured(token: str) -> bool:
        seen = await introspect(own, token, authentication_policies=HIGH_ASSURANCE)
        return bool(seen["policy_evaluations"][HIGH_ASSURANCE]["evaluation"])

    token = await own.token("alice@example.org")
    assert await assured(token)
    await own.age_sessions("alice@example.org", 43_201)
    assert not await assured(token)
    assert await assured(await own.token("alice@example.org"))


async def test_a_service_account_has_no_session(shared: LocalGlobus) -> None:
    token = await shared.client_token("service-account")
    seen = await introspect(
        shared, token, include="session_info", authentication_policies=HIGH_ASSURANCE
    )

    assert seen["username"].endswith("@clients.auth.globus.org")
    assert seen["session_info"]["authentications"] == {}
    assert seen["policy_evaluations"][HIGH_ASSURANCE] == {"evaluation": False}


async def test_revoking_has_the_published_shape_and_takes_the_family_along(
    own: LocalGlobus,
) -> None:
    tokens = await own.login("alice@example.org", [GATEWAY_SCOPE])
    token = tokens["access_token"]
    groups = await as_gateway(own, lambda c: c.oauth2_get_dependent_tokens(token))

    def revoke(text: str) -> Any:
        with own.native() as client:
            return client.oauth2_revoke_token(text).data

    assert await is_active(own, groups.by_resource_server["groups.api.globus.org"]["access_token"])
    answer = await asyncio.to_thread(revoke, tokens["refresh_token"])
    assert_shaped_like(answer, published(globus_sdk.AuthLoginClient.oauth2_revoke_token))
    assert not await is_active(own, token)
    dependent = groups.by_resource_server["groups.api.globus.org"]["access_token"]
    assert not await is_active(own, dependent)
    with own.native() as client, pytest.raises(globus_sdk.AuthAPIError, match="invalid_grant"):
        await asyncio.to_thread(client.oauth2_refresh_token, tokens["refresh_token"])


async def test_a_person_may_lose_every_token_at_once(own: LocalGlobus) -> None:
    alice = await own.token("alice@example.org")
    bob = await own.token("bob@example.org")

    await own.revoke_all("alice@example.org")

    assert not await is_active(own, alice)
    assert await is_active(own, bob)


async def test_a_client_cannot_revoke_the_token_of_another(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org")

    await as_gateway(shared, lambda c: c.oauth2_revoke_token(token))

    assert await is_active(shared, token)


async def test_access_tokens_expire_and_refresh_tokens_do_not() -> None:
    async with LocalGlobus(token_lifetime_s=60) as globus:
        tokens = await globus.login("alice@example.org", [GATEWAY_SCOPE])
        assert tokens.data["expires_in"] == 60
        await globus.advance_clock(61)
        assert not await is_active(globus, tokens["access_token"])

        def renew() -> str:
            with globus.native() as client:
                return str(client.oauth2_refresh_token(tokens["refresh_token"])["access_token"])

        assert await is_active(globus, await asyncio.to_thread(renew))


async def test_userinfo_tells_what_the_scopes_allow(shared: LocalGlobus) -> None:
    def userinfo(token: str) -> dict[str, Any]:
        authorizer = globus_sdk.AccessTokenAuthorizer(token)
        with globus_sdk.AuthClient(base_url=shared.auth_url, authorizer=authorizer) as client:
            return dict(client.userinfo().data)

    everything = await shared.token("carol@partner.example", "openid email profile")
    seen = await asyncio.to_thread(userinfo, everything)
    assert (seen["sub"], seen["email"]) == (CAROL, "carol@partner.example")
    assert seen["preferred_username"] == "carol@partner.example"
    assert [identity["sub"] for identity in seen["identity_set"]] == [CAROL, CAROL_AT_EXAMPLE]

    little = await asyncio.to_thread(userinfo, await shared.token("alice@example.org", "openid"))
    assert set(little) == {"sub", "identity_set"}

    with pytest.raises(globus_sdk.AuthAPIError) as refused:
        await asyncio.to_thread(userinfo, "no such token")
    assert_shaped_like(
        refused.value.raw_json, published(globus_sdk.AuthClient.userinfo, "unauthorized")
    )


async def test_identities_and_providers_have_the_published_shape(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org", "openid")

    def look() -> list[Any]:
        authorizer = globus_sdk.AccessTokenAuthorizer(token)
        with globus_sdk.AuthClient(base_url=shared.auth_url, authorizer=authorizer) as client:
            found = client.get_identities(
                usernames=["alice@example.org", "nobody@example.org"],
                query_params={"include": "identity_provider"},
            )
            by_id = client.get_identities(ids=CAROL_AT_EXAMPLE)
            providers = client.get_identity_providers(domains="partner.example")
            return [found.data, by_id.data, providers.data]

    found, by_id, providers = await asyncio.to_thread(look)
    assert_shaped_like(found, published(globus_sdk.AuthClient.get_identities, "globusid"))
    assert [identity["id"] for identity in found["identities"]] == [ALICE]
    assert found["included"]["identity_providers"][0]["domains"] == ["example.org"]
    assert by_id["identities"][0]["username"] == "carol@example.org"
    assert_shaped_like(providers, published(globus_sdk.AuthClient.get_identity_providers))
    assert providers["identity_providers"][0]["id"] == PARTNER_PROVIDER


async def test_consents_have_the_published_shape_and_keep_their_path(shared: LocalGlobus) -> None:
    wanted = [f"{GATEWAY_SCOPE}[{MY_GROUPS}]", str(AuthScopes.view_consents), "openid"]
    tokens = await shared.login("bob@example.org", wanted)
    token = tokens.by_resource_server["auth.globus.org"]["access_token"]

    def look() -> tuple[Any, bool]:
        authorizer = globus_sdk.AccessTokenAuthorizer(token)
        with globus_sdk.AuthClient(base_url=shared.auth_url, authorizer=authorizer) as client:
            bob = client.userinfo()["sub"]
            consents = client.get_consents(bob)
            met = consents.to_forest().meets_scope_requirements(
                globus_sdk.Scope.parse(f"{GATEWAY_SCOPE}[{MY_GROUPS}]")
            )
            return consents.data, met

    answer, met = await asyncio.to_thread(look)
    assert_shaped_like(answer, published(globus_sdk.AuthClient.get_consents))
    assert met


async def test_tokens_keys_and_secrets_survive_a_restart(own: LocalGlobus) -> None:
    tokens = await own.login("alice@example.org", ["openid", GATEWAY_SCOPE])
    token = tokens.by_resource_server[GATEWAY]["access_token"]
    before = (own.url, own.client_credentials("gateway"))

    await own.stop()
    await own.start()

    assert (own.url, own.client_credentials("gateway")) == before
    assert await is_active(own, token)

    def decode() -> Any:
        with own.native() as client:
            return globus_sdk.IDTokenDecoder(client).decode(tokens["id_token"])

    assert (await asyncio.to_thread(decode))["sub"] == ALICE


async def test_no_secret_lies_open_in_the_state(own: LocalGlobus) -> None:
    tokens = await own.login("alice@example.org", [GATEWAY_SCOPE])
    await own.stop()
    stored = b"".join(file.read_bytes() for file in own.state.glob("globus.sqlite3*"))
    modes = [file.stat().st_mode & 0o777 for file in (own.state / "clients").iterdir()]
    await own.start()

    for name in ("access_token", "refresh_token"):
        assert tokens[name].encode() not in stored
    assert modes
    assert set(modes) == {0o600}


async def test_an_outage_is_seen_and_ends(own: LocalGlobus) -> None:
    token = await own.token("alice@example.org")
    await own.set_weather("auth", status=503)

    answer = await asyncio.to_thread(requests.get, f"{own.auth_url}jwk.json", timeout=10)
    assert answer.status_code == 503
    await own.set_weather("auth")
    assert await is_active(own, token)
    assert (await own.counters())["introspection"] == 1


async def test_requests_for_other_hosts_are_not_answered(shared: LocalGlobus) -> None:
    proxies = {"http": shared.url}
    for url, status in (
        ("http://localhost:5000/v2/version", 200),
        ("http://example.org/v2/version", 400),
    ):
        answer = await asyncio.to_thread(requests.get, url, proxies=proxies, timeout=10)
        assert answer.status_code == status, json.dumps(answer.text)
