"""The operators' file that says which local user a person of the gateway is."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from compute_functions import operator_yaml
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.errors import ConfigurationError
from compute_functions.operator_yaml import Section

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Identities:
    """Local users by identity: a Globus identity's id, or its username.

    Accounts are looked up each time: who leaves a group, or the cluster, has its rights no longer.
    """

    persons: Mapping[str, Person]
    accounts: Mapping[str, Section]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file, or what is known of it if it has not changed."""
        status = unshared(file)
        return cls(*_read(file, status.st_mtime_ns, status.st_size))

    def person(self, names: Sequence[str]) -> Person:
        """Return the user for the first of these identities that the file has."""
        for name in names:
            if name in self.accounts:
                return _account(self.accounts[name])
            if name in self.persons:
                return self.persons[name]
        return ANYBODY

    def problems(self) -> Iterator[str]:
        """Yield which accounts nobody can be: they are not there, or may not be used."""
        for section in self.accounts.values():
            try:
                _account(section)
            except ConfigurationError as error:
                yield str(error)


def unshared(file: Path) -> os.stat_result:
    """Return the status of a file that says who is who; only its owner may write it."""
    try:
        status = file.stat()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    if status.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(f"others may write {file}: chmod go-w {file}")
    return status


def is_barred(uid: int) -> bool:
    """Whether nobody may be this user: root, and the service's own account."""
    return uid in {0, os.geteuid()}


@lru_cache(maxsize=4)
def _read(
    file: Path, _changed_ns: int, _size: int
) -> tuple[Mapping[str, Person], Mapping[str, Section]]:
    whole = operator_yaml.load(file)
    sections = {name: whole.section(name) for name in whole.names()}
    for section in sections.values():
        section.allow("uid", "gids", "account")
    accounts = {name: one for name, one in sections.items() if one.has("account")}
    persons = {name: _person(one) for name, one in sections.items() if name not in accounts}
    return persons, accounts


def _person(section: Section) -> Person:
    """Return a user who is told by numbers."""
    uid = section.whole_number("uid", least=1)
    if is_barred(uid):
        raise section.wrong("uid", "is the service's own account")
    gids = _numbers(section)
    return Person(uid=uid, gids=frozenset(gids), gid=gids[0] if gids else None)


def _account(section: Section) -> Person:
    """Return a user as the cluster's own user database has the account."""
    name = section.text("account")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise section.wrong("account", f"there is no account {name}") from None
    if is_barred(account.pw_uid):
        raise section.wrong("account", "is root or the service's own account")
    return Person.of(account, os.getgrouplist(account.pw_name, account.pw_gid))


def _numbers(section: Section) -> list[int]:
    texts = section.texts("gids") if section.has("gids") else ()
    if not all(text.isascii() and text.isdecimal() for text in texts):
        raise section.wrong("gids", "must be numbers of groups")
    return [int(text) for text in texts]
