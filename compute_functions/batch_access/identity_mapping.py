"""The endpoint's own file that says which account a person has, as Globus Connect Server has it.

Its rules match an expression made of what is known of an identity, and give an account's name.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

from compute_functions.batch_access import identities
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.errors import ConfigurationError

log = logging.getLogger(__name__)

_KIND = "expression_identity_mapping#1.0.0"
#: What the gateway knows of an identity; the name only of the one a person logged in with.
_KNOWN = frozenset({"id", "username"})
_PROPERTY = re.compile(r"\{([^}]*)\}")


class _Mapper(Protocol):
    def map_identity(self, identity_data: Mapping[str, str]) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule; `wants` are the properties of an identity that it speaks of."""

    mapper: _Mapper
    wants: frozenset[str]


@dataclass(frozen=True, slots=True)
class IdentityMapping:
    """The rules of one file, in their order."""

    file: Path
    rules: tuple[_Rule, ...]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file, or what is known of it if it has not changed."""
        status = identities.unshared(file)
        return cls(file, _read(file, status.st_mtime_ns, status.st_size))

    def person(self, owner: Sequence[str], username: str) -> Person:
        """Return the user for the first rule that gives one of these identities an account here.

        `username` is that of the first identity. Neither root nor the service's own account is
        ever given.
        """
        known = [{"id": identity} for identity in owner]
        known[0]["username"] = username
        for name in self._names(known):
            person = _person(name)
            if person is not None:
                return person
        return ANYBODY

    def _names(self, known: Sequence[Mapping[str, str]]) -> Iterator[str]:
        """Yield what the rules give: each is tried with all identities, as the endpoint does."""
        for rule in self.rules:
            for identity in known:
                if rule.wants <= identity.keys():
                    name = self._name(rule, identity)
                    if name:
                        yield name

    def _name(self, rule: _Rule, identity: Mapping[str, str]) -> str | None:
        try:
            return rule.mapper.map_identity(identity)
        except ValueError as error:
            raise ConfigurationError(f"{self.file}: a rule does not work: {error}") from error


def _person(name: str) -> Person | None:
    try:
        account = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    if identities.is_barred(account.pw_uid):
        log.warning("identity_maps_to_barred_account account=%s", account.pw_name)
        return None
    return Person.of(account, os.getgrouplist(account.pw_name, account.pw_gid))


@lru_cache(maxsize=4)
def _read(file: Path, _changed_ns: int, _size: int) -> tuple[_Rule, ...]:
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not JSON: {error}") from error
    documents = found if isinstance(found, list) else [found]
    return tuple(_rule(file, rule) for document in documents for rule in _rules(file, document))


def _rules(file: Path, document: object) -> list[object]:
    """Return the rules of one mapping. External programs are not run: they could hold us up."""
    if not isinstance(document, dict) or document.get("DATA_TYPE") != _KIND:
        raise ConfigurationError(f"{file}: each mapping must have the DATA_TYPE {_KIND}")
    rules = document.get("mappings")
    if not isinstance(rules, list):
        raise ConfigurationError(f"{file}: mappings must be a list")
    return rules


def _rule(file: Path, rule: object) -> _Rule:
    if not isinstance(rule, dict):
        raise ConfigurationError(f"{file}: a rule must be an object")
    try:
        wants = _wanted(rule["source"]) | _wanted(rule["output"])
        mapper = _mapper({"DATA_TYPE": _KIND, "mappings": [rule]})
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{file}: a rule is wrong: {error!r}") from error
    if not wants <= _KNOWN:
        unknown = ", ".join(sorted(wants - _KNOWN))
        # To pass over it could give the person the account of a later rule.
        raise ConfigurationError(f"{file}: a rule needs {unknown}; known are id and username")
    return _Rule(mapper, wants)


def _wanted(expression: str) -> frozenset[str]:
    return frozenset(name for name in _PROPERTY.findall(expression) if not name.isdecimal())


def _mapper(document: Mapping[str, Any]) -> _Mapper:
    try:
        # It comes with the endpoint's agent; a site without `identity_mapping` needs none.
        from globus_identity_mapping.mappers.expression import (  # noqa: PLC0415 # as said
            ExpressionIdentityMapping,
        )
    except ImportError as error:
        raise ConfigurationError(
            "identity_mapping needs the package globus-identity-mapping, "
            "which comes with globus-compute-endpoint"
        ) from error
    return ExpressionIdentityMapping.from_mapping_document(document)
