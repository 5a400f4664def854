"""Scopes: how the text of a request is read, and which service each scope belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from local_globus.auth.errors import InvalidRequest, UnknownScope
from local_globus.directory import Directory
from local_globus.seed import SCOPE_PREFIX

AUTH = "auth.globus.org"
GROUPS = "groups.api.globus.org"
COMPUTE = "funcx_service"

COMPUTE_ALL = f"{SCOPE_PREFIX}facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"
_OPENID = frozenset({"openid", "email", "profile"})
_URN = "urn:globus:auth:scope:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One requested scope with the dependent scopes in its brackets, `a[b c]`."""

    name: str
    dependencies: tuple[Scope, ...] = ()


def parse(text: str) -> list[Scope]:
    """Read a space-separated list of scopes; a `*` (may be refused) is dropped."""
    words = iter(re.findall(r"[^\[\]\s]+|\[|\]", text))
    scopes, closed = _level(words)
    if closed:
        raise InvalidRequest(f"Unbalanced brackets in scope: {text}")
    return scopes


def _level(words: Iterator[str]) -> tuple[list[Scope], bool]:
    scopes: list[Scope] = []
    for word in words:
        if word == "]":
            return scopes, True
        if word != "[":
            scopes.append(Scope(name=word.lstrip("*")))
            continue
        inner, closed = _level(words)
        if not scopes or not closed:
            raise InvalidRequest("Unbalanced brackets in scope")
        scopes[-1] = Scope(name=scopes[-1].name, dependencies=tuple(inner))
    return scopes, False


def names(scopes: Iterable[Scope]) -> list[str]:
    """Return the names of the outermost scopes, each once, in their order."""
    return list(dict.fromkeys(scope.name for scope in scopes))


def resource_server(scope: str, directory: Directory) -> str:
    """Return the service that accepts tokens of a scope."""
    if scope in _OPENID:
        return AUTH
    if scope == COMPUTE_ALL:
        return COMPUTE
    if scope.startswith(_URN) and scope.count(":") == _URN.count(":") + 1:
        return scope.removeprefix(_URN).partition(":")[0]
    if directory.dependencies(scope) is not None:
        return scope.removeprefix(SCOPE_PREFIX).partition("/")[0]
    raise UnknownScope(f"Unknown scope: {scope}")
