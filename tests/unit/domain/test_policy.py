from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from resource_server.domain import errors, policy
from resource_server.domain.catalog import (
    AccessRule,
    Catalog,
    Counting,
    Deployment,
    LoginPolicy,
    Model,
    Project,
)
from resource_server.domain.identity import Authentication, Evaluations, Identity, Person
from tests.support.catalogs import cluster

GROUP, OTHER = "group-1", "group-2"
POLICY, SECOND = "policy-1", "policy-2"
NOW = 1_800_000_000.0
DAY = 86_400.0
DOMAIN = AccessRule(domains=frozenset({"example.org"}))
PRIVATE = AccessRule(groups=frozenset({GROUP}))
POLICED = AccessRule(policies=(LoginPolicy(id=POLICY),))
WEEKLY = AccessRule(policies=(LoginPolicy(id=POLICY, max_age_s=7 * DAY),))
BY_DOMAIN = AccessRule(
    groups_by_domain={"example.org": frozenset({GROUP}), "*": frozenset({OTHER})}
)
FORCE = "python inference_auth_token.py authenticate --force"


def identity(username: str, *groups: str, age_s: float | None = 0.0) -> Identity:
    """Return an identity that was used to log in so long ago; with None it was not."""
    return Identity(
        id=username,
        username=username,
        idp_id="idp",
        idp_name="IdP",
        authentication=None if age_s is None else Authentication(at=NOW - age_s),
        groups=frozenset(groups),
    )


def person(
    username: str = "alice@example.org", *groups: str, linked: tuple[Identity, ...] = (), **more
) -> Person:
    primary = more.pop("primary", identity(username, *groups))
    everything = frozenset().union(*(i.groups for i in (primary, *linked)))
    values: dict[str, Any] = {"groups": everything, "as_of": NOW} | more
    return Person(primary=primary, name="", email="", linked=linked, **values)


def logged_in(age_s: float) -> Person:
    return person(primary=identity("alice@example.org", age_s=age_s), policies=met(POLICY))


def met(*policies: str) -> Evaluations:
    return Evaluations(asked=frozenset(policies), met=frozenset(policies))


def robot(*groups: str) -> Person:
    name = "5e40ace0@clients.auth.globus.org"
    primary = replace(identity(name, *groups, age_s=None), id="5e40ace0")
    return person(primary=primary)


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


LINKED_ONLY = person("a@x.org", linked=(identity("a@example.org", GROUP, age_s=None),))
LINKED_USED = person(
    primary=identity("a@x.org", age_s=None), linked=(identity("a@example.org", GROUP),)
)


@pytest.mark.row("A-5")
@pytest.mark.row("A-6")
@pytest.mark.row("C-38")
@pytest.mark.parametrize(
    ("who", "rule", "allowed"),
    [
        (person(), AccessRule(), True),
        (person("a@x.org", GROUP), AccessRule(groups=frozenset({GROUP, OTHER})), True),
        (person(), PRIVATE, False),
        (person("a@EXAMPLE.org"), DOMAIN, True),
        (person("a@sub.example.org"), DOMAIN, False),
        (person("example.org"), DOMAIN, True),
        (LINKED_USED, DOMAIN, True),
        (LINKED_ONLY, DOMAIN, False),
        (LINKED_ONLY, replace(DOMAIN, domains_of=Counting.ACCOUNT), True),
        (LINKED_ONLY, PRIVATE, True),
        (LINKED_ONLY, replace(PRIVATE, groups_of=Counting.SESSION), False),
        (LINKED_USED, replace(PRIVATE, groups_of=Counting.SESSION), True),
        (person("alice@example.org", GROUP), replace(PRIVATE, domains=frozenset({"x.org"})), False),
        (person("alice@example.org", GROUP), BY_DOMAIN, True),
        (person("alice@example.org", OTHER), BY_DOMAIN, False),
        (person("alice@x.org", OTHER), BY_DOMAIN, True),
        (person("alice@x.org", GROUP), BY_DOMAIN, False),
        (person("a@x.org"), AccessRule(groups_by_domain={"example.org": frozenset()}), True),
        (person(), AccessRule(groups_by_domain={"example.org": frozenset()}), False),
        (LINKED_ONLY, replace(DOMAIN, groups_by_domain={"example.org": frozenset({GROUP})}), False),
        (LINKED_USED, replace(DOMAIN, groups_by_domain={"example.org": frozenset({GROUP})}), True),
        (person(policies=met(POLICY)), POLICED, True),
        (person(policies=Evaluations(asked=frozenset({POLICY}))), POLICED, False),
        (person(policies=met(SECOND)), POLICED, False),
        (person(), POLICED, False),
        (logged_in(7 * DAY - 1), WEEKLY, True),
        (logged_in(7 * DAY), WEEKLY, False),
        (replace(logged_in(0), as_of=float("inf")), WEEKLY, False),
        (logged_in(8 * DAY), POLICED, True),
        (logged_in(DAY), AccessRule(login_max_age_s=DAY + 1), True),
        (logged_in(DAY), AccessRule(login_max_age_s=DAY), False),
        (person(primary=identity("a@x.org", age_s=None)), AccessRule(login_max_age_s=DAY), False),
        (robot(), AccessRule(), True),
        (robot(), PRIVATE, False),
        (robot(GROUP), PRIVATE, True),
        (robot(GROUP), replace(PRIVATE, policies=POLICED.policies), True),
        (robot(), POLICED, False),
        (robot(), DOMAIN, False),
        (robot(), replace(DOMAIN, service_accounts=frozenset({"5e40ace0"})), True),
        (robot(), replace(WEEKLY, service_accounts=frozenset({"5e40ace0"})), True),
        (robot(), AccessRule(service_accounts=frozenset({"another"})), False),
        (person(), AccessRule(service_accounts=frozenset({"another"})), True),
    ],
)
def test_a_rule_admits_whom_it_names(who, rule, allowed):
    assert policy.may_use(who, rule) is allowed


@pytest.mark.row("C-38")
def test_a_hidden_model_reads_like_an_absent_one():
    with pytest.raises(errors.ModelNotFound) as refused:
        policy.require_model(person(), model(PRIVATE), "m")
    with pytest.raises(errors.ModelNotFound) as absent:
        policy.require_model(person(), None, "m")
    assert refused.value.message == absent.value.message


@pytest.mark.row("C-38")
def test_a_model_s_policy_shows_nobody_what_is_private():
    rule = replace(PRIVATE, policies=POLICED.policies)
    with pytest.raises(errors.ModelNotFound):
        policy.require_model(person(), model(rule), "m")


def test_a_member_sees_the_model():
    shown = model(PRIVATE)
    assert policy.require_model(person("a@x.org", GROUP), shown, "m") is shown


@pytest.mark.row("C-18")
@pytest.mark.row("C-19")
def test_a_login_that_is_too_old_is_told_to_renew_and_how():
    with pytest.raises(errors.ReauthenticationRequired) as refused:
        policy.require_model(logged_in(7 * DAY + 1), model(WEEKLY), "m")
    assert refused.value.code == "reauthentication_required"
    assert refused.value.policies == (POLICY,)
    for word in ("https://app.globus.org/logout", FORCE, "7 days", "alice@example.org"):
        assert word in refused.value.message


@pytest.mark.row("C-18")
def test_the_shortest_deadline_counts_and_is_named():
    rule = AccessRule(
        policies=(LoginPolicy(id=POLICY, max_age_s=7 * DAY), LoginPolicy(id=SECOND)),
        login_max_age_s=3600,
    )
    who = replace(logged_in(3600), policies=met(POLICY, SECOND))
    with pytest.raises(errors.ReauthenticationRequired, match="1 hours") as refused:
        policy.require_model(who, model(rule), "m")
    assert refused.value.policies == ()


def test_only_a_login_that_the_rule_takes_keeps_a_deadline():
    who = person(primary=identity("a@x.org"), linked=(identity("a@example.org", age_s=2 * DAY),))
    assert policy.may_use(who, AccessRule(login_max_age_s=DAY))
    assert not policy.may_use(who, replace(DOMAIN, login_max_age_s=DAY))


def test_a_policy_that_was_not_met_is_named_and_one_of_which_nothing_is_known_is_no_refusal():
    two = AccessRule(policies=(LoginPolicy(id=POLICY), LoginPolicy(id=SECOND)))
    half = Evaluations(asked=frozenset({POLICY, SECOND}), met=frozenset({SECOND}))
    with pytest.raises(errors.ReauthenticationRequired, match="authenticate --force") as refused:
        policy.require_service(person(policies=half), two)
    assert refused.value.policies == (POLICY,)
    with pytest.raises(errors.PolicyNotEvaluated) as unknown:
        policy.require_service(person(policies=met(SECOND)), two)
    assert unknown.value.retry_after_s


@pytest.mark.row("C-20")
@pytest.mark.row("C-70")
def test_who_logged_in_with_another_identity_is_told_which_one_is_needed():
    with pytest.raises(errors.ReauthenticationRequired) as refused:
        policy.require_service(LINKED_ONLY, DOMAIN)
    assert refused.value.domains == ("example.org",)
    for word in ("You are logged in as a@x.org", "a login as a@example.org", FORCE):
        assert word in refused.value.message


@pytest.mark.row("C-20")
@pytest.mark.row("C-70")
def test_who_has_no_such_identity_is_told_what_is_asked_for():
    rule = replace(DOMAIN, groups=frozenset({GROUP}), groups_by_domain=BY_DOMAIN.groups_by_domain)
    with pytest.raises(errors.Forbidden) as refused:
        policy.require_service(person("eve@evil.example"), rule)
    assert not isinstance(refused.value, errors.ReauthenticationRequired)
    for word in ("eve@evil.example", "example.org", GROUP, f"others ({OTHER})", FORCE):
        assert word in refused.value.message


def test_a_cluster_s_refusal_names_the_group_that_would_help():
    with pytest.raises(errors.Forbidden, match=f"Globus groups {GROUP}") as refused:
        policy.require_cluster(person(), cluster("closed", access=PRIVATE))
    assert "The cluster 'closed'" in refused.value.message


def test_groups_of_the_session_s_identities_may_need_another_login():
    rule = replace(PRIVATE, groups_of=Counting.SESSION)
    with pytest.raises(errors.ReauthenticationRequired, match=r"a login as a@example\.org"):
        policy.require_service(LINKED_ONLY, rule)


def test_what_no_single_identity_has_is_described():
    rule = AccessRule(
        groups=frozenset({GROUP}), domains=frozenset({"x.org"}), groups_of=Counting.SESSION
    )
    with pytest.raises(errors.ReauthenticationRequired, match=r"Globus groups group-1 and an ide"):
        policy.require_service(LINKED_ONLY, rule)


def test_a_service_account_comes_in_only_if_it_is_listed():
    with pytest.raises(errors.Forbidden, match="service account"):
        policy.require_service(robot(GROUP), PRIVATE)
    policy.require_service(robot(), replace(WEEKLY, service_accounts=frozenset({"5e40ace0"})))


def test_a_service_account_is_not_told_to_log_in():
    with pytest.raises(errors.Forbidden) as refused:
        policy.require_cluster(robot(), cluster(access=PRIVATE))
    assert FORCE not in refused.value.message


def test_every_policy_that_a_catalog_names_is_found():
    catalog = Catalog(
        models=[model(WEEKLY)],
        projects=[Project(name="p", access=AccessRule(policies=(LoginPolicy(id=SECOND),)))],
    )
    assert policy.policies_of(policy.rules_of(catalog)) == {POLICY, SECOND}
