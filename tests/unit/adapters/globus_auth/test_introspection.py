"""What makes a token good enough, check by check."""

from __future__ import annotations

from typing import Any

import pytest
from globus_sdk.testing import get_response_set
from structlog.testing import capture_logs

from resource_server.adapters.globus_auth import groups, introspection
from resource_server.adapters.globus_auth.introspection import Requirements, Unreadable
from resource_server.domain import errors
from resource_server.domain.identity import Authentication, Evaluations, Identity

NOW = 1_800_000_000.0
GATEWAY = "9a7e0000-0000-4000-8000-000000000001"
SCOPE = f"https://auth.globus.org/scopes/{GATEWAY}/action_all"
REQUIRED = Requirements(audience=GATEWAY, scope=SCOPE)


def said(**changes: Any) -> dict[str, Any]:
    """Return what Globus says of a good token, with changes; None takes a field out."""
    values = {
        "active": True,
        "token_type": "Bearer",
        "scope": f"openid {SCOPE}",
        "client_id": "10910000-0000-4000-8000-000000000001",
        "sub": "ca1",
        "username": "carol@partner.example",
        "name": "Carol Partner",
        "email": "carol@partner.example",
        "exp": NOW + 100,
        "iat": NOW - 100,
        "nbf": NOW - 100,
        "aud": [GATEWAY, "10910000-0000-4000-8000-000000000001"],
        "iss": "https://auth.globus.org",
        "identity_set_detail": [
            {
                "sub": "ca2",
                "username": "carol@Example.org",
                "identity_provider": "idp2",
                "identity_provider_display_name": "Example University",
            },
            {
                "sub": "ca1",
                "username": "carol@partner.example",
                "identity_provider": "idp1",
                "identity_provider_display_name": "Partner Institute",
            },
        ],
    } | changes
    return {name: value for name, value in values.items() if value is not None}


def test_a_good_token_names_the_person_and_the_linked_identities() -> None:
    grant = introspection.grant(said(), REQUIRED, now=NOW)
    person = grant.person
    assert grant.expires_at == NOW + 100
    assert person.primary == Identity(
        id="ca1", username="carol@partner.example", idp_id="idp1", idp_name="Partner Institute"
    )
    assert [identity.id for identity in person.linked] == ["ca2"]
    assert (person.name, person.email, person.groups) == (
        "Carol Partner",
        "carol@partner.example",
        frozenset(),
    )


def test_without_an_identity_set_there_is_the_one_that_the_token_names() -> None:
    changed = said(identity_set_detail=None, name=None, email=None)
    person = introspection.grant(changed, REQUIRED, now=NOW).person
    assert (person.primary.id, person.primary.idp_id, person.linked) == ("ca1", "", ())
    assert (person.name, person.email) == ("", "")


def test_identities_that_say_too_little_are_left_out() -> None:
    details = ["x", {"sub": "s"}, {"username": "u@example.org"}, {"sub": 7, "username": "u"}]
    person = introspection.grant(said(identity_set_detail=details), REQUIRED, now=NOW).person
    assert (person.primary.id, person.linked) == ("ca1", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"nbf": NOW + 61},
        {"aud": ["another"]},
        {"aud": GATEWAY + "x"},
        {"aud": []},
        {"aud": None},
        {"scope": "openid"},
        {"scope": f"{SCOPE}_and_more"},
        {"scope": None},
    ],
)
def test_a_token_that_is_no_good_here_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        introspection.grant(said(**changes), REQUIRED, now=NOW)
    assert len(caught.value.message) > 40


@pytest.mark.row("C-68")
def test_an_expired_token_s_holder_is_told_what_to_do() -> None:
    with pytest.raises(errors.Unauthenticated, match="get_access_token"):
        introspection.grant({"active": False}, REQUIRED, now=NOW)


@pytest.mark.parametrize("changes", [{"nbf": NOW + 59}, {"nbf": None}, {"aud": GATEWAY}])
def test_what_is_within_tolerance_is_accepted(changes: dict[str, Any]) -> None:
    assert introspection.grant(said(**changes), REQUIRED, now=NOW).person.primary.id == "ca1"


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        {},
        {"active": "yes"},
        said(exp=None),
        said(exp="soon"),
        said(exp=True),
        said(sub=None),
        said(sub=7),
        said(username=None),
    ],
)
def test_what_cannot_be_understood_refuses_nobody(reply: object) -> None:
    with pytest.raises(Unreadable):
        introspection.grant(reply, REQUIRED, now=NOW)


LOGINS = {
    "session_id": "5e5510",
    "authentications": {
        "ca2": {
            "idp": "idp2",
            "auth_time": 1_799_999_000,
            "acr": "https://refeds.org/profile/mfa",
            "amr": ["pwd", "mfa"],
            "custom_claims": {},
        },
        "stranger": {"idp": "idp3", "auth_time": 1_799_999_000},
    },
}


def test_an_identity_says_how_it_was_used_to_log_in() -> None:
    person = introspection.grant(said(session_info=LOGINS), REQUIRED, now=NOW).person
    (used,) = person.logged_in()
    assert used.id == "ca2"
    assert used.authentication == Authentication(
        at=1_799_999_000.0,
        idp_id="idp2",
        acr="https://refeds.org/profile/mfa",
        amr=("pwd", "mfa"),
    )


def test_without_an_identity_set_the_one_there_is_says_how_it_was_used() -> None:
    logins = {"authentications": {"ca1": {"idp": None, "auth_time": 7, "acr": None, "amr": None}}}
    changed = said(identity_set_detail=None, session_info=logins)
    person = introspection.grant(changed, REQUIRED, now=NOW).person
    assert person.primary.authentication == Authentication(at=7.0)


@pytest.mark.parametrize(
    "session",
    [
        None,
        [],
        {},
        {"authentications": None},
        {"authentications": {"ca1": None}},
        {"authentications": {"ca1": {"auth_time": "now"}}},
        {"authentications": {"ca1": {"auth_time": True}}},
    ],
)
def test_a_session_that_says_nothing_is_no_login(session: object) -> None:
    person = introspection.grant(said(session_info=session), REQUIRED, now=NOW).person
    assert list(person.logged_in()) == []


ASKED = frozenset({"p1", "p2"})


@pytest.mark.row("C-18")
@pytest.mark.parametrize(
    ("evaluations", "asked", "met"),
    [
        ({"p1": {"evaluation": True}, "p2": {"evaluation": True}}, ASKED, ASKED),
        ({"p1": {"evaluation": True}, "p2": {"evaluation": False}}, ASKED, {"p1"}),
        ({"p1": {"evaluation": True}, "p3": {"evaluation": True}}, {"p1"}, {"p1"}),
        ({"p1": {"evaluation": True}, "p2": {"evaluation": "true"}}, {"p1"}, {"p1"}),
        ({"p1": {"evaluation": True}, "p2": True}, {"p1"}, {"p1"}),
        ({"p1": {"evaluation": False}, "p2": {}}, {"p1"}, set()),
        ({}, set(), set()),
        ([], set(), set()),
        (None, set(), set()),
    ],
)
def test_only_what_globus_says_plainly_counts(
    evaluations: object, asked: set[str], met: set[str]
) -> None:
    changed = said(policy_evaluations=evaluations)
    person = introspection.grant(changed, REQUIRED, now=NOW, policies=ASKED).person
    assert person.policies == Evaluations(asked=frozenset(asked), met=frozenset(met))


def test_a_policy_that_globus_did_not_evaluate_is_the_operators_business() -> None:
    with capture_logs() as logs:
        introspection.grant(said(), REQUIRED, now=NOW, policies=ASKED)
    assert ("globus_policy_not_evaluated", ["p1", "p2"]) in [
        (entry["event"], entry["policies"]) for entry in logs
    ]


def test_the_published_introspection_is_understood() -> None:
    example: Any = get_response_set("auth.oauth2_token_introspect").lookup("default")
    required = Requirements(audience="auth.globus.org", scope="openid")
    before = example.json["exp"] - 10
    person = introspection.grant(example.json, required, now=before).person
    assert person.primary.username == example.metadata["username"]
    with pytest.raises(errors.Unauthenticated):
        introspection.grant(example.json, REQUIRED, now=before)


def test_the_published_groups_are_understood() -> None:
    example = get_response_set("groups.get_my_groups").lookup("default")
    found = groups.memberships(example.json)
    assert frozenset().union(*found.values()) == frozenset(example.metadata["group_ids"])
    assert found.keys() == {i for ids in example.metadata["member_ids"].values() for i in ids}


def test_only_active_memberships_count_for_the_identity_that_has_them() -> None:
    def group(id_: str, **statuses: str) -> dict[str, Any]:
        entries = [{"identity_id": who, "status": status} for who, status in statuses.items()]
        return {"id": id_, "my_memberships": entries}

    said = [
        group("in", a="active"),
        group("one-of-two", a="invited", b="active"),
        group("invited", a="invited"),
        group("pending", a="pending"),
        group("both", a="active", b="active"),
        group("none"),
        {"id": "strange", "my_memberships": ["x", {"status": "active"}]},
    ]
    assert groups.memberships(said) == {
        "a": frozenset({"in", "both"}),
        "b": frozenset({"one-of-two", "both"}),
    }


def test_memberships_join_the_person_and_each_identity() -> None:
    person = introspection.grant(said(), REQUIRED, now=NOW).person
    member = groups.joined(
        person, {"ca2": frozenset({"g"}), "not-in-the-introspection": frozenset({"h"})}
    )
    assert member.groups == {"g", "h"}
    assert [sorted(identity.groups) for identity in member.identities] == [[], ["g"]]


def test_the_published_dependent_tokens_are_understood() -> None:
    example = get_response_set("auth.oauth2_get_dependent_tokens").lookup("groups")
    assert groups.dependent_token(example.json) == "groupsToken"


@pytest.mark.parametrize("reply", [None, {}, [], [{"resource_server": "transfer"}], ["x"]])
def test_dependent_tokens_without_one_for_groups_cannot_be_understood(reply: object) -> None:
    with pytest.raises(Unreadable):
        groups.dependent_token(reply)


@pytest.mark.parametrize("reply", [None, {"groups": []}, ["x"], [{"id": "g"}]])
def test_groups_in_another_shape_cannot_be_understood(reply: object) -> None:
    with pytest.raises(Unreadable):
        groups.memberships(reply)
