"""A local Globus for a test, on free ports; people log in through the real flow."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import globus_sdk
import requests

from local_globus import environment, seed, server
from local_globus.compute.limits import DOCUMENTED, NONE

_START_S = 30.0

GATEWAY_SCOPE = "https://auth.globus.org/scopes/9a7e0000-0000-4000-8000-000000000001/action_all"


class LocalGlobus:
    """An async context manager around the real server, which runs in a thread of its own.

    Blocking code (the Globus SDK, `requests`) may call it from the test's own thread. It can be
    stopped and started again, and remembers. The switches of `/_local/` are on.
    """

    def __init__(
        self,
        state: Path | None = None,
        *,
        limits: bool = False,
        token_lifetime_s: int = server.DEFAULT_TOKEN_LIFETIME_S,
        seed_file: Path | None = None,
        amqp_url: str | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory() if state is None else None
        self.state = Path(self._temporary.name) if self._temporary else Path(str(state))
        self._options = server.Options(
            state=self.state,
            limits=DOCUMENTED if limits else NONE,
            token_lifetime_s=token_lifetime_s,
            seed=seed_file,
            amqp_url=amqp_url,
            test_controls=True,
        )
        self._seed = seed.load(seed_file)
        self._http = requests.Session()
        self._http.trust_env = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._http.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def start(self) -> None:
        """Start the server, on the addresses of the last time if there was one."""
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, server.Running]] = Future()
        self._thread = threading.Thread(target=self._work, args=(started,), name="local-globus")
        self._thread.start()
        self._loop, self._stop, self._running = await asyncio.wait_for(
            asyncio.wrap_future(started), _START_S
        )

    async def stop(self) -> None:
        """Stop the server and keep its state."""
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, _START_S)
        if self._thread.is_alive():
            raise TimeoutError("The local Globus did not stop")

    def _work(self, started: Future[Any]) -> None:
        async def main() -> None:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()

            def ready(running: server.Running) -> None:
                started.set_result((loop, stop, running))

            await server.serve(self._options, stop, ready)

        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    @property
    def url(self) -> str:
        """The address of the web services, as `http://127.0.0.1:5123`."""
        return self._running.url

    @property
    def broker_address(self) -> str:
        """The address of the broker, without credentials."""
        return self._running.amqp_url

    @property
    def auth_url(self) -> str:
        """The base URL of Globus Auth."""
        return f"{self.url}/auth/"

    @property
    def groups_url(self) -> str:
        """The base URL of Globus Groups."""
        return f"{self.url}/groups/"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead the SDK and the agent here."""
        return environment.for_url(self.url)

    def client_credentials(self, name: str) -> tuple[str, str]:
        """Return id and secret of a confidential client of the seed."""
        stored = json.loads((self.state / "clients" / f"{name}.json").read_text())
        return stored["client_id"], stored["client_secret"]

    def client_environment(self, name: str) -> dict[str, str]:
        """Return the variables with which SDK and agent act as a confidential client."""
        client_id, secret = self.client_credentials(name)
        acting = {"GLOBUS_COMPUTE_CLIENT_ID": client_id, "GLOBUS_COMPUTE_CLIENT_SECRET": secret}
        return self.environment() | acting

    def confidential(self, name: str) -> globus_sdk.ConfidentialAppAuthClient:
        """Return an SDK client for a confidential client of the seed; the caller closes it."""
        client_id, secret = self.client_credentials(name)
        return globus_sdk.ConfidentialAppAuthClient(
            client_id, secret, base_url=self.auth_url, environment="production"
        )

    def native(self, name: str = "login-helper") -> globus_sdk.NativeAppAuthClient:
        """Return an SDK client for a public client of the seed; the caller closes it."""
        client_id = next(client.id for client in self._seed.clients if client.name == name)
        return globus_sdk.NativeAppAuthClient(
            client_id, base_url=self.auth_url, environment="production"
        )

    async def login(
        self, username: str, scopes: Iterable[str] = (GATEWAY_SCOPE,), **session: Any
    ) -> globus_sdk.OAuthTokenResponse:
        """Log a person in with the real PKCE flow and return the tokens.

        `session` takes the `session_*` parameters and `prompt` of the SDK's authorize URL.
        """
        return await asyncio.to_thread(self._login, username, list(scopes), session)

    async def token(self, username: str, scope: str = GATEWAY_SCOPE) -> str:
        """Log a person in and return the access token for one scope."""
        tokens = await self.login(username, [scope])
        return str(tokens["access_token"])

    async def client_token(self, name: str, scope: str = GATEWAY_SCOPE) -> str:
        """Return an access token of a confidential client for one scope."""

        def obtain() -> str:
            with self.confidential(name) as client:
                return str(client.oauth2_client_credentials_tokens(scope)["access_token"])

        return await asyncio.to_thread(obtain)

    def _login(
        self, username: str, scopes: list[str], session: dict[str, Any]
    ) -> globus_sdk.OAuthTokenResponse:
        with self.native() as client:
            client.oauth2_start_flow(requested_scopes=scopes, refresh_tokens=True)
            code = self.approve(client.oauth2_get_authorize_url(**session), username)
            return client.oauth2_exchange_code_for_tokens(code)

    def approve(self, authorize_url: str, username: str) -> str:
        """Do what a person does with the browser, and return the code that is shown."""
        page = self._http.get(authorize_url, timeout=10)
        page.raise_for_status()
        if f'value="{username}"' not in page.text:
            raise AssertionError(f"The login page does not offer {username}")
        shown = self._http.post(authorize_url, data={"username": username}, timeout=10)
        shown.raise_for_status()
        found = re.search(r'<pre id="code">(.+?)</pre>', shown.text)
        if found is None:
            raise AssertionError("No code is shown after the login")
        return found.group(1)

    async def revoke_all(self, username: str) -> None:
        """Revoke every token of a person."""
        await self._control("POST", f"people/{username}/revoke")

    async def age_sessions(self, username: str, seconds: float) -> None:
        """Make the logins of a person older."""
        await self._control("POST", f"people/{username}/age", {"seconds": seconds})

    async def advance_clock(self, seconds: float) -> None:
        """Let time pass for tokens, logins, tasks and results."""
        await self._control("POST", "clock/advance", {"seconds": seconds})

    async def set_weather(
        self, service: str, *, status: int | None = None, delay_s: float = 0.0
    ) -> None:
        """Have `auth`, `groups` or `compute` answer a status only, or late; no status ends it."""
        await self._control("PUT", f"weather/{service}", {"status": status, "delay_s": delay_s})

    async def counters(self) -> dict[str, int]:
        """Return how often things happened, as `introspection`, since the start or the reset."""
        counted: dict[str, int] = await self._control("GET", "counters")
        return counted

    async def reset_counters(self) -> None:
        """Count from zero."""
        await self._control("DELETE", "counters")

    async def _control(self, method: str, path: str, body: object = None) -> Any:
        def call() -> Any:
            answer = self._http.request(method, f"{self.url}/_local/{path}", json=body, timeout=10)
            answer.raise_for_status()
            return answer.json()

        return await asyncio.to_thread(call)
