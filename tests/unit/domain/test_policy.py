from __future__ import annotations

import pytest

from resource_server.domain import errors, policy
from resource_server.domain.catalog import AccessRule, Deployment, Model
from resource_server.domain.identity import Identity, Person

GROUP, OTHER = "group-1", "group-2"


def person(
    username: str = "alice@example.org", *linked: str, groups: tuple[str, ...] = ()
) -> Person:
    identities = [
        Identity(id=name, username=name, idp_id="idp", idp_name="IdP")
        for name in (username, *linked)
    ]
    return Person(
        primary=identities[0],
        name="",
        email="",
        linked=tuple(identities[1:]),
        groups=frozenset(groups),
    )


def model(rule: AccessRule) -> Model:
    return Model(
        id="m",
        description="",
        owned_by="",
        created=0,
        deployments=(Deployment(cluster="c", framework="f"),),
        routes=("completions",),
        access=rule,
    )


@pytest.mark.parametrize(
    ("who", "rule", "allowed"),
    [
        (person(), AccessRule(), True),
        (person(groups=(GROUP,)), AccessRule(groups=frozenset({GROUP, OTHER})), True),
        (person(), AccessRule(groups=frozenset({GROUP})), False),
        (person("a@EXAMPLE.org"), AccessRule(domains=frozenset({"example.org"})), True),
        (person("a@sub.example.org"), AccessRule(domains=frozenset({"example.org"})), False),
        (person("a@x.org", "a@example.org"), AccessRule(domains=frozenset({"example.org"})), True),
        (
            person(groups=(GROUP,)),
            AccessRule(groups=frozenset({GROUP}), domains=frozenset({"elsewhere.org"})),
            False,
        ),
    ],
)
def test_a_rule_admits_whom_it_names(who, rule, allowed):
    assert policy.may_use(who, rule) is allowed


def test_a_hidden_model_reads_like_an_absent_one():
    hidden = model(AccessRule(groups=frozenset({GROUP})))
    with pytest.raises(errors.ModelNotFound) as refused:
        policy.require_model(person(), hidden, "m")
    with pytest.raises(errors.ModelNotFound) as absent:
        policy.require_model(person(), None, "m")
    assert refused.value.message == absent.value.message


def test_a_member_sees_the_model():
    shown = model(AccessRule(groups=frozenset({GROUP})))
    assert policy.require_model(person(groups=(GROUP,)), shown, "m") is shown
