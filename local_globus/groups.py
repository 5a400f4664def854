"""Globus Groups: in which groups somebody is, read only."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_globus.auth import errors, scopes
from local_globus.auth.authority import Authority
from local_globus.auth.tokens import Token
from local_globus.seed import Group, Identity

_READING_SCOPES = {
    f"urn:globus:auth:scope:{scopes.GROUPS}:{name}"
    for name in ("all", "view_my_groups_and_memberships")
}


class NoSuchGroup(errors.AuthError):
    """The group does not exist, or the caller may not see it."""

    status = 404
    error = "not_found"


class GroupEndpoints:
    """The two reads of Globus Groups that a gateway needs."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def my_groups(self, request: Request) -> JSONResponse:
        """List the caller's groups; each says with which status the caller is in it."""
        identities = self._caller(request)
        statuses = [s for s in request.query_params.get("statuses", "").split(",") if s]
        listed = []
        for group in self._authority.directory.groups_of(identities):
            view = _view(group, identities)
            if not statuses or any(m["status"] in statuses for m in view["my_memberships"]):
                listed.append(view)
        return JSONResponse(listed)

    async def group(self, request: Request) -> JSONResponse:
        """Describe one group, with its members on request."""
        identities = self._caller(request)
        group = self._authority.directory.group(request.path_params["group_id"])
        if group is None or not {i.id for i in identities} & set(group.members):
            raise NoSuchGroup
        view = _view(group, identities) | {"subscription_id": None, "subscription_info": None}
        if "memberships" in request.query_params.get("include", "").split(","):
            known = (self._authority.directory.identity(id_) for id_ in group.members)
            view["memberships"] = _memberships(group, [i for i in known if i is not None])
        return JSONResponse(view)

    def _caller(self, request: Request) -> tuple[Identity, ...]:
        token: Token = self._authority.bearer(request, scopes.GROUPS)
        if not _READING_SCOPES & set(token.scopes):
            raise errors.Forbidden
        return self._authority.directory.account(token.subject).identities


def _memberships(group: Group, identities: list[Identity]) -> list[dict[str, Any]]:
    return [
        {
            "group_id": group.id,
            "identity_id": identity.id,
            "username": identity.username,
            "role": "member",
            "status": group.members[identity.id],
        }
        for identity in identities
        if identity.id in group.members
    ]


def _view(group: Group, identities: tuple[Identity, ...]) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "parent_id": None,
        "group_type": "regular",
        "enforce_session": False,
        "session_limit": 28800,
        "session_timeouts": {},
        "my_memberships": _memberships(group, list(identities)),
        "policies": {"group_visibility": "private", "group_members_visibility": "managers"},
    }


def application(authority: Authority) -> Starlette:
    """Return Globus Groups as an ASGI application."""
    endpoints = GroupEndpoints(authority)
    return Starlette(
        routes=[
            Route("/v2/groups/my_groups", endpoints.my_groups),
            Route("/v2/groups/{group_id}", endpoints.group),
        ],
        exception_handlers={errors.AuthError: errors.render},
    )
