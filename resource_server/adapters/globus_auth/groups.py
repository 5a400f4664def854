"""Where a person is a member, in the shapes of Globus Auth and Groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from resource_server.adapters.globus_auth.introspection import Unreadable
from resource_server.domain.identity import Person

SCOPE = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships"


def dependent_token(said: object) -> str:
    """Return the token for Groups from the answer to a dependent token grant."""
    for item in said if isinstance(said, list) else []:
        match item:
            case {"resource_server": "groups.api.globus.org", "access_token": str() as token}:
                return token
    raise Unreadable("no token for Groups among the dependent tokens")


def memberships(said: object) -> dict[str, frozenset[str]]:
    """Return for each identity the ids of its groups; an invitation is no membership."""
    if not isinstance(said, list):
        raise Unreadable("the groups are not a list")
    found: dict[str, set[str]] = {}
    for group in said:
        id_, identities = _active(group)
        for identity in identities:
            found.setdefault(identity, set()).add(id_)
    return {identity: frozenset(ids) for identity, ids in found.items()}


def joined(person: Person, groups: Mapping[str, frozenset[str]]) -> Person:
    """Return the person with these memberships."""
    primary, *linked = (
        replace(identity, groups=groups.get(identity.id, frozenset()))
        for identity in person.identities
    )
    # Groups knows of every identity of the account, the introspection maybe not.
    everything = frozenset().union(*groups.values())
    return replace(person, primary=primary, linked=tuple(linked), groups=everything)


def _active(group: object) -> tuple[str, list[str]]:
    """Return the id of a group and the identities that are active members."""
    match group:
        case {"id": str() as id_, "my_memberships": list() as entries}:
            return id_, [identity for identity in map(_active_member, entries) if identity]
        case _:
            raise Unreadable("a group without id or memberships")


def _active_member(entry: object) -> str:
    match entry:
        case {"status": "active", "identity_id": str() as identity}:
            return identity
        case _:
            return ""
