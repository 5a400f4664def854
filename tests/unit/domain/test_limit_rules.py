from __future__ import annotations

from dataclasses import replace

import pytest

from resource_server.domain.limit_rules import Allowance, LimitRules, ModelAllowance
from resource_server.domain.limits import NO_SIZES, BodySizes, Limit, Measure, Scope
from tests.support.doubles import person

ALICE = replace(person("alice@example.org", "students", "staff"), credential="c0ffee")
ID = ALICE.primary.id


def amounts(rules: LimitRules, who=ALICE, model: str | None = "a/b") -> dict[str, int]:
    """Return the limits that bind somebody, as `measure scope: amount`."""
    return {f"{limit.measure} {limit.scope}": limit.amount for limit in rules.limits_of(who, model)}


@pytest.mark.row("A-58")
def test_without_rules_nothing_is_limited():
    assert LimitRules().limits_of(ALICE, "a/b") == ()
    assert LimitRules(defaults=(Allowance(requests_per_minute=0),)).limits_of(ALICE, "a/b") == ()


@pytest.mark.row("A-56")
@pytest.mark.row("U-28")
def test_each_kind_of_limit_is_counted_apart():
    rules = LimitRules(
        defaults=(
            Allowance(
                requests_per_minute=1,
                requests_per_minute_per_key=2,
                tokens_per_minute=3,
                tokens_per_minute_per_model=4,
                concurrent_requests=5,
            ),
        )
    )
    tokens = Limit(measure=Measure.TOKENS, amount=3, owner=ID)
    assert rules.limits_of(ALICE, "a/b") == (
        Limit(measure=Measure.REQUESTS, amount=1, owner=ID),
        tokens,
        Limit(measure=Measure.CONCURRENT, amount=5, owner=ID),
        Limit(
            measure=Measure.REQUESTS, amount=2, owner=ID, scope=Scope.KEY, subject=ALICE.credential
        ),
        replace(tokens, amount=4, scope=Scope.MODEL, subject="a/b"),
    )


def test_what_is_remembered_of_one_person_and_key_is_nobody_elses():
    rules = LimitRules(
        defaults=(Allowance(requests_per_minute_per_key=2),),
        groups={"staff": Allowance(tokens_per_minute=3)},
        most_remembered=2,
    )
    other_key, no_staff = replace(ALICE, credential="beef"), replace(ALICE, groups=frozenset())
    for who in (ALICE, other_key, no_staff, person("bob@example.org"), ALICE, other_key):
        tokens = [ID] if "staff" in who.groups else []
        found = rules.limits_of(who, "a/b")
        assert [limit.owner for limit in found if limit.measure is Measure.TOKENS] == tokens
        keys = [limit.subject for limit in found if limit.scope is Scope.KEY]
        assert keys == ([who.credential] if who.credential else [])
        assert {limit.owner for limit in found} <= {who.account_id}


def test_without_a_model_only_what_binds_the_person_counts():
    rules = LimitRules(defaults=(Allowance(requests_per_minute=1, tokens_per_minute_per_model=4),))
    assert amounts(rules, model=None) == {"requests person": 1}


def test_the_first_default_that_says_something_counts():
    rules = LimitRules(
        defaults=(
            Allowance(requests_per_minute=10, concurrent_requests=0),
            Allowance(requests_per_minute=5, concurrent_requests=2, tokens_per_minute=7),
        )
    )
    assert amounts(rules) == {"requests person": 10, "tokens person": 7}


def test_of_several_groups_the_most_generous_value_counts_for_each_limit():
    rules = LimitRules(
        defaults=(Allowance(requests_per_minute=5, concurrent_requests=1),),
        groups={
            "students": Allowance(requests_per_minute=2, concurrent_requests=8),
            "staff": Allowance(requests_per_minute=3, concurrent_requests=4),
            "others": Allowance(requests_per_minute=1000),
        },
    )
    assert amounts(rules) == {"requests person": 3, "concurrent person": 8}
    assert amounts(rules, person("eve@example.org")) == {
        "requests person": 5,
        "concurrent person": 1,
    }


def test_no_limit_is_the_most_generous_value():
    rules = LimitRules(
        groups={
            "students": Allowance(requests_per_minute=2),
            "staff": Allowance(requests_per_minute=0),
        },
    )
    assert amounts(rules) == {}


@pytest.mark.row("U-29")
def test_a_rule_for_a_person_raises_the_limit_for_them_alone():
    rules = LimitRules(
        defaults=(Allowance(requests_per_minute=5, concurrent_requests=2),),
        groups={"staff": Allowance(requests_per_minute=7)},
        people={"Alice@Example.org": Allowance(requests_per_minute=500)},
    )
    assert amounts(rules) == {"requests person": 500, "concurrent person": 2}
    assert amounts(rules, person("eve@example.org", "staff"))["requests person"] == 7


def test_an_account_has_its_limits_once_whichever_identity_a_token_is_for():
    rules = LimitRules(defaults=(Allowance(requests_per_minute=1, concurrent_requests=1),))
    home = person("alice@home.example").primary
    here, there = (
        replace(ALICE, linked=(home,)),
        replace(ALICE, primary=home, linked=(ALICE.primary,)),
    )
    owners = [{limit.owner for limit in rules.limits_of(who)} for who in (here, there)]
    assert owners == [{min(home.id, ID)}] * 2


def test_a_person_is_known_by_each_linked_identity():
    linked = replace(person("alice@home.example"), linked=(ALICE.primary,))
    rules = LimitRules(people={"alice@example.org": Allowance(requests_per_minute=500)})
    assert amounts(rules, linked) == {"requests person": 500}


def test_what_names_the_model_counts_before_what_does_not():
    rules = LimitRules(
        defaults=(
            Allowance(
                tokens_per_minute_per_model=100,
                models={"a/b": ModelAllowance(tokens_per_minute=10, requests_per_minute=6)},
            ),
        ),
        groups={"staff": Allowance(tokens_per_minute_per_model=1000)},
        people={"bob@example.org": Allowance(models={"a/b": ModelAllowance(tokens_per_minute=20)})},
    )
    assert amounts(rules) == {"requests model": 6, "tokens model": 10}
    assert amounts(rules, model="other") == {"tokens model": 1000}
    assert amounts(rules, person("bob@example.org"))["tokens model"] == 20


def test_a_person_without_a_key_has_no_limit_per_key():
    rules = LimitRules(defaults=(Allowance(requests_per_minute_per_key=2),))
    assert amounts(rules, person("eve@example.org")) == {}


STUDENT, BOTH = (
    person("bob@example.org", "students"),
    person("eve@example.org", "students", "staff"),
)


@pytest.mark.parametrize(
    ("who", "sizes"),
    [
        (person("zoe@example.org"), BodySizes(body=50)),
        (STUDENT, BodySizes(body=10, upload=900)),
        (BOTH, BodySizes(body=70, upload=900)),
        (ALICE, BodySizes(body=20, upload=900)),
    ],
    ids=["in no group", "in a group that may less", "in two groups", "with a rule of their own"],
)
def test_how_large_a_request_may_be_is_chosen_as_the_limits_are(who, sizes):
    rules = LimitRules(
        defaults=(Allowance(max_body_bytes=50),),
        groups={
            "students": Allowance(max_body_bytes=10, max_upload_bytes=900),
            "staff": Allowance(max_body_bytes=70),
            "others": Allowance(max_body_bytes=1000, max_upload_bytes=1000),
        },
        people={"alice@example.org": Allowance(max_body_bytes=20)},
    )
    assert [rules.body_sizes_of(who), rules.body_sizes_of(who)] == [sizes, sizes]
    assert rules.limits_of(who, "a/b") == ()


def test_without_a_rule_about_sizes_the_settings_count():
    rules = LimitRules(
        defaults=(Allowance(requests_per_minute=5),),
        people={"alice@example.org": Allowance(concurrent_requests=2)},
    )
    assert rules.body_sizes_of(ALICE) == NO_SIZES == BodySizes(body=None, upload=None)


def test_requests_about_batches_have_a_limit_of_their_own():
    rules = LimitRules(
        defaults=(Allowance(requests_per_minute=1), Allowance(batch_requests_per_minute=600)),
        groups={"staff": Allowance(batch_requests_per_minute=900), "other": Allowance()},
        people={"carol@example.org": Allowance(batch_requests_per_minute=0)},
    )

    def of(who) -> list[Limit]:
        return list(rules.batch_limits_of(who))

    limit = Limit(measure=Measure.REQUESTS, amount=900, owner=ID, scope=Scope.BATCHES)
    assert of(ALICE) == [limit]
    bob = person("bob@example.org")
    assert of(bob) == [replace(limit, amount=600, owner=bob.primary.id)]
    assert of(person("carol@example.org", "staff")) == []
    assert of(replace(ALICE, credential="beef")) == [limit]
    assert amounts(rules) == {"requests person": 1}
    assert LimitRules().batch_limits_of(ALICE) == ()
