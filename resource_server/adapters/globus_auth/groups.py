"""Where a person is a member, in the shapes of Globus Auth and Groups."""

from __future__ import annotations

from resource_server.adapters.globus_auth.introspection import Unreadable

SCOPE = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships"


def dependent_token(said: object) -> str:
    """Return the token for Groups from the answer to a dependent token grant."""
    for item in said if isinstance(said, list) else []:
        match item:
            case {"resource_server": "groups.api.globus.org", "access_token": str() as token}:
                return token
    raise Unreadable("no token for Groups among the dependent tokens")


def active(said: object) -> frozenset[str]:
    """Return the ids of the groups with an active membership: an invitation is none."""
    if not isinstance(said, list):
        raise Unreadable("the groups are not a list")
    return frozenset(group for group in map(_active_group, said) if group)


def _active_group(group: object) -> str:
    match group:
        case {"id": str() as id_, "my_memberships": list() as memberships}:
            statuses = [entry.get("status") for entry in memberships if isinstance(entry, dict)]
            return id_ if "active" in statuses else ""
        case _:
            raise Unreadable("a group without id or memberships")
