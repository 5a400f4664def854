"""The identity provider: one introspection per token, and the groups in the person's name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
import globus_sdk
import structlog

from resource_server.adapters.globus_auth import groups, introspection
from resource_server.adapters.globus_auth.http import GlobusHttp, Reply
from resource_server.adapters.globus_auth.introspection import Requirements, Unreadable
from resource_server.domain import errors
from resource_server.domain.identity import Grant, Person

log = structlog.get_logger()

#: How long an answer to `available` counts (seconds).
AVAILABLE_FOR_S = 10.0
#: Whoever asks for readiness has no more patience than this (seconds).
PROBE_TIMEOUT_S = 3.0


class GlobusAuth:
    """Identifies callers by Globus access tokens.

    `client_id` is the gateway's own confidential client, which is also the audience that tokens
    must have. Whatever Globus cannot answer is `IdentityServiceUnavailable`: nobody is refused
    for a fault of Globus or of the gateway's configuration. Tokens have the form of one.
    """

    def __init__(  # noqa: PLR0913 # each is a setting of its own, given by name
        self,
        *,
        client_id: str,
        client_secret: str,
        scope: str,
        need_groups: bool = True,
        timeout_s: float = 10.0,
        auth_url: str | None = None,
        groups_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._requirements = Requirements(audience=client_id, scope=scope)
        self._as_gateway = aiohttp.encode_basic_auth(client_id, client_secret)
        self._need_groups = need_groups
        self._auth_url = _base(auth_url, "auth")
        self._introspection_url = f"{self._auth_url}/v2/oauth2/token/introspect"
        self._groups_url = _base(groups_url, "groups")
        self._clock = clock
        self._new = GlobusHttp(timeout_s=timeout_s)
        # Known tokens and the probe have turns of their own: a flood of new tokens, which anybody
        # can send, must not lock out who was admitted before.
        self._known = GlobusHttp(timeout_s=timeout_s)
        self._probing = asyncio.Lock()
        self._probed_at: float | None = None
        self._available = False

    async def __aenter__(self) -> Self:
        await self._new.__aenter__()
        await self._known.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._known.__aexit__(kind, error, traceback)
        await self._new.__aexit__(kind, error, traceback)

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        """Return the grant behind a token; see the port for what it raises."""
        http = self._known if known else self._new
        try:
            said = await self._introspect(http, token, policies)
            grant = introspection.grant(
                said, self._requirements, now=self._clock(), policies=policies
            )
            if not self._need_groups:
                return grant
            memberships = await self._memberships(http, token, grant.person)
        except Unreadable as error:
            log.error("globus_auth_unreadable", reason=str(error))  # noqa: TRY400 # the reason says it all
            raise errors.IdentityServiceUnavailable from error
        return replace(grant, person=groups.joined(grant.person, memberships))

    async def available(self) -> bool:
        """Tell whether Globus Auth answers; asked at most once in a few seconds."""
        async with self._probing:
            now = asyncio.get_running_loop().time()
            if self._probed_at is None or now - self._probed_at > AVAILABLE_FOR_S:
                self._available = await self._probe()
                self._probed_at = asyncio.get_running_loop().time()
            return self._available

    async def _probe(self) -> bool:
        url = f"{self._auth_url}/.well-known/openid-configuration"
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return (await self._known.get(url)).ok
        except (errors.UpstreamError, TimeoutError):
            return False

    async def _introspect(self, http: GlobusHttp, token: str, policies: frozenset[str]) -> object:
        reply = await self._ask_about(http, token, policies)
        if policies and reply.status == HTTPStatus.BAD_REQUEST:
            return await self._introspect_policy_by_policy(http, token, policies)
        return _accepted(self._introspection_url, reply)

    async def _introspect_policy_by_policy(
        self, http: GlobusHttp, token: str, policies: frozenset[str]
    ) -> object:
        """Find out which policies Globus does not know, and learn what it says of the others.

        Somebody misspelt one: that must close what it protects, and not the whole service.
        """
        said = _accepted(self._introspection_url, await self._ask_about(http, token, frozenset()))
        evaluations: dict[str, object] = {}
        for policy in sorted(policies):
            reply = await self._ask_about(http, token, frozenset({policy}))
            match reply.value:
                case {"policy_evaluations": dict() as evaluated} if reply.ok:
                    evaluations |= evaluated
                case _:
                    log.error("globus_policy_refused", policy=policy, error=reply.error_code)
        return said | {"policy_evaluations": evaluations} if isinstance(said, dict) else said

    async def _ask_about(self, http: GlobusHttp, token: str, policies: frozenset[str]) -> Reply:
        form = {"token": token, "include": "session_info,identity_set_detail"}
        if policies:
            form["authentication_policies"] = ",".join(sorted(policies))
        return await http.post(self._introspection_url, form, self._as_gateway)

    async def _memberships(
        self, http: GlobusHttp, token: str, person: Person
    ) -> dict[str, frozenset[str]]:
        """Return the person's groups. The token for Groups serves this one call and is dropped."""
        form = {
            "grant_type": "urn:globus:auth:grant_type:dependent_token",
            "token": token,
            "scope": groups.SCOPE,
        }
        url = f"{self._auth_url}/v2/oauth2/token"
        reply = await http.post(url, form, self._as_gateway)
        if reply.error_code == "invalid_grant":
            raise errors.Unauthenticated(introspection.INACTIVE)
        if reply.error_code == "dependent_consent_required":
            if person.is_service_account:
                return {}  # Nobody can be asked to agree; what names it is open to it anyway.
            raise errors.Unauthenticated(introspection.CONSENT_MISSING)
        groups_token = groups.dependent_token(_accepted(url, reply))
        url = f"{self._groups_url}/v2/groups/my_groups"
        return groups.memberships(_accepted(url, await http.get(url, f"Bearer {groups_token}")))


def _base(url: str | None, service: str) -> str:
    return (url or globus_sdk.config.get_service_url(service)).rstrip("/")


def _accepted(url: str, reply: Reply) -> object:
    """Return what Globus said. If it refused the gateway itself, the operators must act."""
    if not reply.ok:
        log.error(
            "globus_auth_refused_gateway", url=url, status=reply.status, error=reply.error_code
        )
        raise errors.IdentityServiceUnavailable
    return reply.value
