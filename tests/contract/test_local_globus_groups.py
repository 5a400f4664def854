"""Globus Groups of the local Globus answers the SDK as Globus publishes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import globus_sdk
import pytest
import pytest_asyncio
from globus_sdk.scopes import GroupsScopes

from tests.support.globus_shapes import assert_shaped_like, published
from tests.support.local_globus import LocalGlobus

MY_GROUPS = str(GroupsScopes.view_my_groups_and_memberships)
PRIVATE = "94090000-0000-4000-8000-000000000003"
ADMINS = "94090000-0000-4000-8000-000000000002"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[LocalGlobus]:
    async with LocalGlobus() as globus:
        yield globus


async def ask(
    globus: LocalGlobus, token: str, question: Callable[[globus_sdk.GroupsClient], Any]
) -> Any:
    """Let `question` use an SDK client for Groups, in a thread."""

    def run() -> Any:
        authorizer = globus_sdk.AccessTokenAuthorizer(token)
        with globus_sdk.GroupsClient(base_url=globus.groups_url, authorizer=authorizer) as client:
            return question(client).data

    return await asyncio.to_thread(run)


async def test_my_groups_have_the_published_shape(shared: LocalGlobus) -> None:
    token = await shared.token("alice@example.org", MY_GROUPS)
    groups = await ask(shared, token, lambda client: client.get_my_groups())

    assert_shaped_like(groups, published(globus_sdk.GroupsClient.get_my_groups))
    assert [group["name"] for group in groups] == ["inference-users", "admins"]


async def test_memberships_tell_their_status(shared: LocalGlobus) -> None:
    token = await shared.token("carol@example.org", MY_GROUPS)
    groups = await ask(shared, token, lambda client: client.get_my_groups())
    active = await ask(shared, token, lambda client: client.get_my_groups(statuses="active"))

    statuses = {group["name"]: group["my_memberships"][0]["status"] for group in groups}
    assert statuses == {"inference-users": "active", "private-model-users": "invited"}
    assert [group["name"] for group in active] == ["inference-users"]


async def test_a_group_has_the_published_shape_and_its_members(shared: LocalGlobus) -> None:
    token = await shared.token("bob@example.org", MY_GROUPS)
    group = await ask(
        shared, token, lambda client: client.get_group(PRIVATE, include="memberships")
    )

    assert_shaped_like(group, published(globus_sdk.GroupsClient.get_group))
    members = {member["username"]: member["status"] for member in group["memberships"]}
    assert members["bob@example.org"] == "active"
    assert members["eve@evil.example"] == "pending"


async def test_a_group_that_is_not_mine_is_not_there(shared: LocalGlobus) -> None:
    token = await shared.token("bob@example.org", MY_GROUPS)

    with pytest.raises(globus_sdk.GroupsAPIError) as refused:
        await ask(shared, token, lambda client: client.get_group(ADMINS))
    assert refused.value.http_status == 404


@pytest.mark.parametrize(
    ("scope", "status"),
    [("openid", 401), ("urn:globus:auth:scope:groups.api.globus.org:nothing", 403)],
)
async def test_a_token_for_something_else_is_refused(
    shared: LocalGlobus, scope: str, status: int
) -> None:
    token = await shared.token("alice@example.org", scope)

    with pytest.raises(globus_sdk.GroupsAPIError) as refused:
        await ask(shared, token, lambda client: client.get_my_groups())
    assert refused.value.http_status == status
