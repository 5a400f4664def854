"""Authentication policies are evaluated as Globus Auth does."""

from __future__ import annotations

from typing import Any

import pytest

from local_globus.auth import policies
from local_globus.seed import Account, Identity, IdentityProvider, Policy

NOW = 1_000_000.0


def identity(username: str) -> Identity:
    provider = IdentityProvider(id="p", name="p", domains=(username.partition("@")[2],))
    return Identity(id=username, username=username, name="n", organization="o", provider=provider)


ACCOUNT = Account(identities=(identity("carol@partner.example"), identity("c@dept.example.org")))


@pytest.mark.parametrize(
    ("policy", "logins", "expected"),
    [
        ({}, {}, True),
        ({"domain_constraints_include": ("partner.example",)}, {}, True),
        ({"domain_constraints_include": ("example.org",)}, {}, False),
        ({"domain_constraints_include": ("*.example.org",)}, {}, True),
        ({"domain_constraints_include": ("*.example",)}, {}, True),
        ({"domain_constraints_exclude": ("partner.example",)}, {}, True),
        (
            {"domain_constraints_exclude": ("partner.example", "dept.example.org")},
            {},
            False,
        ),
        (
            {
                "domain_constraints_include": ("partner.example",),
                "domain_constraints_exclude": ("partner.example",),
            },
            {},
            False,
        ),
        ({"high_assurance": True}, {}, False),
        ({"high_assurance": True}, {"carol@partner.example": 0.0}, True),
        (
            {"high_assurance": True, "authentication_assurance_timeout": 60},
            {"carol@partner.example": NOW - 60},
            True,
        ),
        (
            {"high_assurance": True, "authentication_assurance_timeout": 60},
            {"carol@partner.example": NOW - 61},
            False,
        ),
        (
            {"high_assurance": True, "domain_constraints_include": ("partner.example",)},
            {"c@dept.example.org": NOW},
            False,
        ),
    ],
)
def test_a_policy_is_met(policy: dict[str, Any], logins: dict[str, float], expected: bool) -> None:
    verdict = policies.met(Policy(id="1", name="p", **policy), ACCOUNT, logins, now=NOW)

    assert verdict is expected
