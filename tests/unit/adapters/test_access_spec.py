from __future__ import annotations

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_access import AccessSpec
from resource_server.domain.catalog import AccessRule, Counting, LoginPolicy

GROUP = "94090000-0000-4000-8000-000000000003"
POLICY = "90110000-0000-4000-8000-000000000001"


def test_nothing_restricts_nobody():
    assert AccessSpec().to_domain() == AccessRule()
    assert AccessSpec().to_domain().is_open


def test_everything_that_a_rule_may_say():
    spec = AccessSpec.model_validate(
        {
            "groups": [GROUP],
            "domains": ["Example.ORG"],
            "groups_by_domain": {"Partner.example": [GROUP], "*": []},
            "policies": [POLICY, {"id": GROUP, "max_age_s": 60}],
            "login_max_age_s": 3600,
            "service_accounts": [GROUP],
            "domains_of": "account",
            "groups_of": "session",
        }
    )
    rule = spec.to_domain()
    assert rule == AccessRule(
        groups=frozenset({GROUP}),
        domains=frozenset({"example.org"}),
        groups_by_domain={"partner.example": frozenset({GROUP}), "*": frozenset()},
        policies=(LoginPolicy(id=POLICY), LoginPolicy(id=GROUP, max_age_s=60)),
        login_max_age_s=3600,
        service_accounts=frozenset({GROUP}),
        domains_of=Counting.ACCOUNT,
        groups_of=Counting.SESSION,
    )
    assert not rule.is_open
    assert AccessSpec.model_validate(spec.to_row()) == spec


@pytest.mark.parametrize(
    "mistake",
    [
        {"groups": ["staff"]},
        {"groups_by_domain": {"a.org": GROUP}},
        {"policies": ["weekly"]},
        {"policies": [{"id": POLICY, "max_age_s": 0}]},
        {"policies": [{"id": POLICY, "max_age": 60}]},
        {"policies": [7]},
        {"login_max_age_s": -1},
        {"service_accounts": ["robot"]},
        {"domains_of": "linked"},
        {"idps": []},
    ],
)
def test_what_is_misspelt_is_a_mistake(mistake):
    with pytest.raises(ValidationError):
        AccessSpec.model_validate(mistake)
