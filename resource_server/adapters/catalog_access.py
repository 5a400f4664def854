"""What the catalog's YAML may say of who may use something."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from pydantic import Field, model_validator

from resource_server.adapters.catalog_part import Spec
from resource_server.domain.catalog import AccessRule, Counting, LoginPolicy


class LoginPolicySpec(Spec):
    """A Globus authentication policy: its id alone, `<id>=<seconds>`, or both as fields."""

    id: UUID
    max_age_s: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        id_, _, max_age_s = value.partition("=")
        return {"id": id_, "max_age_s": max_age_s} if max_age_s else {"id": id_}

    def to_domain(self) -> LoginPolicy:
        """Return the policy."""
        return LoginPolicy(id=str(self.id), max_age_s=self.max_age_s)


class AccessSpec(Spec):
    """Who may use something; what is left out does not restrict. See `AccessRule`."""

    groups: tuple[UUID, ...] = ()
    domains: tuple[str, ...] = ()
    groups_by_domain: dict[str, tuple[UUID, ...]] = Field(default_factory=dict)
    policies: tuple[LoginPolicySpec, ...] = ()
    login_max_age_s: float | None = Field(None, gt=0)
    service_accounts: tuple[UUID, ...] = ()
    domains_of: Counting = Counting.SESSION
    groups_of: Counting = Counting.ACCOUNT

    def to_domain(self) -> AccessRule:
        """Return the rule."""
        return AccessRule(
            groups=_ids(self.groups),
            domains=frozenset(domain.lower() for domain in self.domains),
            groups_by_domain={d.lower(): _ids(ids) for d, ids in self.groups_by_domain.items()},
            policies=tuple(policy.to_domain() for policy in self.policies),
            login_max_age_s=self.login_max_age_s,
            service_accounts=_ids(self.service_accounts),
            domains_of=self.domains_of,
            groups_of=self.groups_of,
        )


def _ids(ids: Iterable[UUID]) -> frozenset[str]:
    return frozenset(map(str, ids))
