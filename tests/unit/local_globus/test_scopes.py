"""Scopes are read and sorted to services as Globus Auth does."""

from __future__ import annotations

import pytest

from local_globus import seed
from local_globus.auth import scopes
from local_globus.auth.errors import InvalidRequest, UnknownScope
from local_globus.auth.scopes import Scope
from local_globus.directory import Directory


def test_dependencies_stand_in_brackets() -> None:
    assert scopes.parse("a b[c *d[e]] a") == [
        Scope(name="a"),
        Scope(
            name="b",
            dependencies=(
                Scope(name="c"),
                Scope(name="d", dependencies=(Scope(name="e"),)),
            ),
        ),
        Scope(name="a"),
    ]


def test_names_are_those_of_the_outer_scopes_once() -> None:
    assert scopes.names(scopes.parse("a b[c] a")) == ["a", "b"]


@pytest.mark.parametrize("text", ["a[", "a]", "[a]", "a[b]]"])
def test_unbalanced_brackets_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        scopes.parse(text)


@pytest.mark.parametrize(
    ("scope", "service"),
    [
        ("openid", "auth.globus.org"),
        ("urn:globus:auth:scope:groups.api.globus.org:all", "groups.api.globus.org"),
        (scopes.COMPUTE_ALL, "funcx_service"),
        (
            "https://auth.globus.org/scopes/9a7e0000-0000-4000-8000-000000000001/action_all",
            "9a7e0000-0000-4000-8000-000000000001",
        ),
    ],
)
def test_a_scope_belongs_to_a_service(scope: str, service: str) -> None:
    assert scopes.resource_server(scope, Directory(seed.load())) == service


@pytest.mark.parametrize(
    "scope",
    [
        "everything",
        "urn:globus:auth:scope:nothing",
        "https://auth.globus.org/scopes/9a7e0000-0000-4000-8000-000000000001/other",
    ],
)
def test_an_unknown_scope_is_refused(scope: str) -> None:
    with pytest.raises(UnknownScope):
        scopes.resource_server(scope, Directory(seed.load()))
