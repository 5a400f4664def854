"""A `UserApp` of the SDK, with its id tokens, consents and refreshes, runs against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import globus_sdk
import pytest
from globus_sdk.login_flows import CommandLineLoginFlowManager
from globus_sdk.scopes import GroupsScopes
from globus_sdk.token_storage import MemoryTokenStorage

from tests.support.local_globus import GATEWAY_SCOPE, LocalGlobus

GATEWAY = "9a7e0000-0000-4000-8000-000000000001"
MY_GROUPS = GroupsScopes.view_my_groups_and_memberships


class BrowserThatClicks(CommandLineLoginFlowManager):
    """Instead of asking somebody to open a browser, does what they would do there."""

    globus: LocalGlobus
    username = "alice@example.org"
    logins = 0

    def print_authorize_url(self, authorize_url: str) -> None:
        self._url = authorize_url

    def prompt_for_code(self) -> str:
        type(self).logins += 1
        return self.globus.approve(self._url, self.username)


@pytest.fixture
async def globus(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalGlobus]:
    async with LocalGlobus(token_lifetime_s=120) as globus:
        for name, value in globus.environment().items():
            monkeypatch.setenv(name, value)
        yield globus


async def test_a_user_app_logs_in_once_and_refreshes(globus: LocalGlobus) -> None:
    class Browser(BrowserThatClicks):
        pass

    Browser.globus = globus
    storage = MemoryTokenStorage()

    def use() -> list[str]:
        config = globus_sdk.GlobusAppConfig(
            environment="local",
            login_flow_manager=Browser,
            token_storage=storage,
            request_refresh_tokens=True,
        )
        needed = {
            "groups.api.globus.org": [MY_GROUPS],
            GATEWAY: [
                globus_sdk.Scope(GATEWAY_SCOPE).with_dependency(globus_sdk.Scope(str(MY_GROUPS)))
            ],
        }
        with (
            globus_sdk.UserApp(
                "test",
                client_id="10910000-0000-4000-8000-000000000001",
                scope_requirements=needed,
                config=config,
            ) as app,
            globus_sdk.GroupsClient(app=app) as groups,
        ):
            app.get_authorizer(GATEWAY)
            return [group["name"] for group in groups.get_my_groups()]

    first = await asyncio.to_thread(use)
    # The SDK renews a token a minute before it ends; so it has to with what it stored.
    await globus.advance_clock(121)
    stored = storage.get_token_data("groups.api.globus.org")
    assert stored is not None
    again = await asyncio.to_thread(use)

    assert first == again == ["inference-users", "admins"]
    assert Browser.logins == 1
    renewed = storage.get_token_data("groups.api.globus.org")
    assert renewed is not None
    assert renewed.access_token != stored.access_token
