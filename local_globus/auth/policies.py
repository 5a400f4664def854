"""Whether an account and its session meet an authentication policy."""

from __future__ import annotations

from collections.abc import Mapping

from local_globus.seed import Account, Identity, Policy


def met(
    policy: Policy, account: Account, authentications: Mapping[str, float], *, now: float
) -> bool:
    """Decide as Globus Auth does.

    Without high assurance it is enough that some linked identity has an acceptable domain. With
    it, such an identity must have authenticated in this session, and recently if the policy says.
    """
    acceptable = [identity for identity in account.identities if _domain_is_met(policy, identity)]
    if not policy.high_assurance:
        return bool(acceptable)
    limit = policy.authentication_assurance_timeout
    oldest = now - limit if limit is not None else float("-inf")
    seen = [authentications[i.id] for i in acceptable if i.id in authentications]
    return any(authenticated_at >= oldest for authenticated_at in seen)


def _domain_is_met(policy: Policy, identity: Identity) -> bool:
    included = policy.domain_constraints_include
    excluded = policy.domain_constraints_exclude or ()
    if _matches(identity.domain, excluded):
        return False
    return included is None or _matches(identity.domain, included)


def _matches(domain: str, constraints: tuple[str, ...]) -> bool:
    return any(
        domain == constraint or (constraint.startswith("*.") and domain.endswith(constraint[1:]))
        for constraint in constraints
    )
