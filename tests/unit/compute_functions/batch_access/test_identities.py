"""The file that says which local user a person is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_access.identities import Identities
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.errors import ConfigurationError
from tests.support.batch_orders import identities


def test_the_first_identity_that_is_known_counts(tmp_path: Path) -> None:
    file = identities(
        tmp_path,
        {"id-2": {"uid": 1002, "gids": [7, 8]}, "bob@example.org": {"uid": 1003}},
    )
    found = Identities.read(file)

    two = Person(uid=1002, gids=frozenset({7, 8}))
    assert found.person(["id-1", "id-2", "bob@example.org"]) == two
    assert found.person(["bob@example.org"]) == Person(uid=1003)
    assert found.person(["id-3"]) == ANYBODY


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    assert Identities.read(identities(tmp_path, {"a": {"uid": 5}})).person(["a"]).uid == 5
    assert Identities.read(identities(tmp_path, {"a": {"uid": 1234}})).person(["a"]).uid == 1234


def test_an_account_has_the_groups_that_the_machine_says(tmp_path: Path) -> None:
    account = next(one for one in pwd.getpwall() if one.pw_uid not in {0, os.geteuid()})
    found = Identities.read(identities(tmp_path, {"a": {"account": account.pw_name}}))

    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    assert found.person(["a"]) == Person(uid=account.pw_uid, gids=frozenset(groups))


def test_an_account_that_is_gone_takes_nobody_elses_rights(tmp_path: Path) -> None:
    values = {"a": {"account": "nobody-has-this-name"}, "b": {"uid": 5}}
    found = Identities.read(identities(tmp_path, values))

    assert found.person(["b"]) == Person(uid=5)
    with pytest.raises(ConfigurationError, match=r"a\.account: there is no account"):
        found.person(["a"])


def test_who_has_left_a_group_is_not_in_it_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = next(one for one in pwd.getpwall() if one.pw_uid not in {0, os.geteuid()})
    file = identities(tmp_path, {"a": {"account": account.pw_name}})
    with monkeypatch.context() as before:
        before.setattr(os, "getgrouplist", lambda _name, gid: [gid, 77])
        assert 77 in Identities.read(file).person(["a"]).gids
    assert 77 not in Identities.read(file).person(["a"]).gids


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"uid": 0}, "a.uid: must be a whole number, 1 or more"),
        ({"uid": "x"}, "a.uid: must be a whole number"),
        ({"uid": 5, "gids": ["-1"]}, "a.gids: must be numbers of groups"),
        ({"uid": 5, "groups": []}, "a.groups: unknown"),
        ({"account": "root"}, "a.account: is root or the service's own account"),
        ({"account": "nobody-has-this-name"}, "a.account: there is no account"),
        ({}, "a.uid: is missing"),
    ],
)
def test_what_is_not_right_is_refused(tmp_path: Path, entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Identities.read(identities(tmp_path, {"a": entry})).person(["a"])
    assert problem in str(raised.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = identities(tmp_path, {"a": {"uid": 5}})
    file.chmod(0o620)
    with pytest.raises(ConfigurationError, match="others may write"):
        Identities.read(file)
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Identities.read(file)
