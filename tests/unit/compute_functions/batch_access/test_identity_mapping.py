"""The endpoint's own file of accounts: read as the endpoint's agent reads it."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_access import owner
from compute_functions.batch_access.identity_mapping import IdentityMapping
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.batch_settings import AccessMode, BatchSettings
from compute_functions.errors import ConfigurationError
from tests.support.batch_orders import order

KIND = "expression_identity_mapping#1.0.0"
#: Accounts that every machine has.
ONE, TWO = (one for one in pwd.getpwall() if one.pw_name in {"bin", "daemon"})
FIRST, SECOND = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def rule(match: str, output: str, *, source: str = "{username}", **more: Any) -> dict[str, Any]:
    return {"source": source, "match": match, "output": output, **more}


def mapping(folder: Path, *rules: dict[str, Any]) -> IdentityMapping:
    return IdentityMapping.read(file(folder, [{"DATA_TYPE": KIND, "mappings": rules}]))


def file(folder: Path, content: Any) -> Path:
    made = folder / "mapping.json"
    made.write_text(content if isinstance(content, str) else json.dumps(content))
    made.chmod(0o644)
    return made


def person(account: pwd.struct_passwd) -> Person:
    return Person.of(account, os.getgrouplist(account.pw_name, account.pw_gid))


def test_a_username_becomes_an_account_with_its_groups(tmp_path: Path) -> None:
    found = mapping(tmp_path, rule(r"(.*)@example\.org", "{0}"))
    known = found.person((FIRST,), f"{ONE.pw_name}@example.org")
    assert known == person(ONE)
    assert (known.account, known.gid) == (ONE.pw_name, ONE.pw_gid)
    assert found.person((FIRST,), f"{ONE.pw_name}@example.com") == ANYBODY
    assert found.person((FIRST,), "nobody-has-this-name@example.org") == ANYBODY


def test_an_identity_of_any_rank_becomes_an_account(tmp_path: Path) -> None:
    found = mapping(tmp_path, rule(SECOND, TWO.pw_name, source="{id}", literal=True))
    assert found.person((FIRST, SECOND), "alice@example.org") == person(TWO)
    assert found.person((FIRST,), "alice@example.org") == ANYBODY


def test_the_first_rule_that_gives_an_account_of_this_machine_counts(tmp_path: Path) -> None:
    found = mapping(
        tmp_path,
        rule("(.*)@example.org", "nobody-has-{0}"),
        rule("ALICE@example.org", TWO.pw_name, ignore_case=True),
        rule("(.*)@example.org", ONE.pw_name),
    )
    assert found.person((FIRST,), "alice@example.org") == person(TWO)
    assert found.person((FIRST,), "bob@example.org") == person(ONE)


def test_the_name_is_that_of_the_first_identity_alone(tmp_path: Path) -> None:
    found = mapping(tmp_path, rule(f"{SECOND}/alice", ONE.pw_name, source="{id}/{username}"))
    assert found.person((FIRST, SECOND), "alice") == ANYBODY
    assert found.person((SECOND, FIRST), "alice") == person(ONE)


@pytest.mark.parametrize("name", ["root", pwd.getpwuid(os.geteuid()).pw_name])
def test_nobody_becomes_root_or_the_service(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = mapping(tmp_path, rule("(.*)@example.org", "{0}"))
    assert found.person((FIRST,), f"{name}@example.org") == ANYBODY
    assert "identity_maps_to_barred_account" in caplog.text


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    assert mapping(tmp_path, rule("a", ONE.pw_name)).person((FIRST,), "a") == person(ONE)
    assert mapping(tmp_path, rule("a", TWO.pw_name + "")).person((FIRST,), "a") == person(TWO)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ([7], "each mapping must have the DATA_TYPE"),
        ([{"DATA_TYPE": "external_identity_mapping#1.0.0", "command": ["x"]}], "DATA_TYPE"),
        ([{"DATA_TYPE": KIND}], "mappings must be a list"),
        ([{"DATA_TYPE": KIND, "mappings": ["x"]}], "a rule must be an object"),
        ([{"DATA_TYPE": KIND, "mappings": [{"source": "a", "match": "b"}]}], "a rule is wrong"),
        ([{"DATA_TYPE": KIND, "mappings": [rule("(", "a")]}], "a rule is wrong"),
        ([{"DATA_TYPE": KIND, "mappings": [rule("a", 7)]}], "a rule is wrong"),  # type: ignore[arg-type]  # on purpose
        (
            [{"DATA_TYPE": KIND, "mappings": [rule("a", "b", source="{email}")]}],
            "a rule needs email; known are id and username",
        ),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(
    tmp_path: Path, content: Any, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        IdentityMapping.read(file(tmp_path, content))


def test_a_rule_that_does_not_work_is_refused(tmp_path: Path) -> None:
    found = mapping(tmp_path, rule("(a)", "{1}"))
    with pytest.raises(ConfigurationError, match="a rule does not work"):
        found.person((FIRST,), "a")


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    made = file(tmp_path, [])
    made.chmod(0o664)
    with pytest.raises(ConfigurationError, match="others may write"):
        IdentityMapping.read(made)


def test_without_the_package_the_operators_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "globus_identity_mapping.mappers.expression", None)
    with pytest.raises(ConfigurationError, match="needs the package globus-identity-mapping"):
        mapping(tmp_path, rule("a", "b"))


@pytest.mark.parametrize("access", list(AccessMode))
def test_a_site_that_names_it_asks_it(tmp_path: Path, access: AccessMode) -> None:
    made = file(tmp_path, {"DATA_TYPE": KIND, "mappings": [rule("(.*)@example.org", ONE.pw_name)]})
    settings = BatchSettings(access=access, identity_mapping=made)
    assert owner.person(settings, order()) == person(ONE)
