"""Who may do what: pure decisions over identities, logins and access rules.

A rule has two halves. Membership (groups, domains, service accounts) says whom something is for;
whom it is not for does not see it. The login (policies, its age, the identity that was used) says
how good a proof of identity it takes; who could give that proof is told how.
"""

from __future__ import annotations

from collections.abc import Iterable

from resource_server.domain import errors
from resource_server.domain.catalog import AccessRule, Catalog, Cluster, Counting, Model
from resource_server.domain.identity import Identity, Person

#: The entry of `groups_by_domain` for domains that are not named.
ANY_OTHER = "*"
_DAY_S = 86_400


def may_see(person: Person, rule: AccessRule) -> bool:
    """Tell whether a rule is meant for a person, whatever the login of this session is like.

    A service account logs in nowhere. It may see what is open to all, what names it, and what is
    for a group in which it has an active membership.
    """
    if rule.is_open:
        return True
    if person.is_service_account:
        return person.primary.id in rule.service_accounts or bool(rule.groups & person.groups)
    return _is_member(rule, person.identities, person.groups)


def may_use(person: Person, rule: AccessRule) -> bool:
    """Tell whether a person satisfies every part of a rule."""
    return may_see(person, rule) and _shortfall(person, rule, "it") is None


def require_service(person: Person, rule: AccessRule) -> None:
    """Raise an error unless the person may use the service at all.

    A service account must be named; being in a group is not enough.
    """
    if person.is_service_account and person.primary.id not in rule.service_accounts:
        raise errors.Forbidden(
            f"The service account '{person.primary.username}' is not admitted to this service. "
            "Ask its operators to list it."
        )
    _require(person, rule, "this service")


def require_cluster(person: Person, cluster: Cluster) -> None:
    """Raise an error unless the person may use the cluster."""
    _require(person, cluster.access, f"the cluster '{cluster.name}'")


def require_model(person: Person, model: Model | None, model_id: str) -> Model:
    """Return the model, or raise `ModelNotFound` if it is absent or hidden from the person.

    The two cases read alike, so that nobody learns which private models exist. Who may know of
    the model but needs another login for it is told so.
    """
    if model is None or not may_see(person, model.access):
        raise no_such_model(model_id)
    require_login(person, model.access, f"the model '{model_id}'")
    return model


def require_login(person: Person, rule: AccessRule, what: str) -> None:
    """Raise an error unless the login of this session is as the rule wants it.

    For somebody who may see the thing; `what` names it, as in "the model 'x'".
    """
    if rule.looks_at_logins and (shortfall := _shortfall(person, rule, what)) is not None:
        raise shortfall


def no_such_model(model_id: str) -> errors.ModelNotFound:
    """Return the error for a model that is absent or hidden: the two cases read alike."""
    return errors.ModelNotFound(
        f"The model '{model_id}' does not exist here or you may not use it. "
        "GET …/v1/models lists the models you may use."
    )


def policies_of(rules: Iterable[AccessRule]) -> frozenset[str]:
    """Return the ids of all policies that rules name."""
    return frozenset(policy.id for rule in rules for policy in rule.policies)


def rules_of(catalog: Catalog) -> Iterable[AccessRule]:
    """Return every access rule of a catalog."""
    for things in (catalog.clusters, catalog.models, catalog.projects):
        for thing in things.values():
            yield thing.access


def _require(person: Person, rule: AccessRule, what: str) -> None:
    if not may_see(person, rule):
        raise _not_for(person, rule, what)
    require_login(person, rule, what)


def _not_for(person: Person, rule: AccessRule, what: str) -> errors.Forbidden:
    """Return the error for somebody for whom something is not."""
    if person.is_service_account:
        return errors.Forbidden(
            f"The service account '{person.primary.username}' may not use {what}. "
            "Ask the operators to list it there."
        )
    return errors.Forbidden(
        f"{_logged_in_as(person)} {_capital(what)} needs {_requirement(rule)}. "
        f"Ask the operators for access, or log in as somebody who has it. {errors.LOG_IN_AGAIN}"
    )


def _shortfall(person: Person, rule: AccessRule, what: str) -> errors.HotnodeError | None:
    """Return what the login of this session lacks, as the error to raise; None if nothing."""
    if not rule.looks_at_logins or person.is_service_account:
        return None
    used = tuple(_looked_at(person, rule.domains_of))
    if not _is_member(rule, used, _groups(person, rule)):
        return _other_login(person, rule, what)
    return _policy_not_met(person, rule, what) or _too_old(person, rule, used, what)


def _is_member(rule: AccessRule, identities: Iterable[Identity], groups: frozenset[str]) -> bool:
    """Tell whether these identities and groups are what the rule asks for."""
    if rule.groups and not rule.groups & groups:
        return False
    if not rule.domains and not rule.groups_by_domain:
        return True
    return any(_has_its_group(i, rule, groups) for i in _from(identities, rule.domains))


def _from(identities: Iterable[Identity], domains: frozenset[str]) -> Iterable[Identity]:
    return (identity for identity in identities if not domains or identity.domain in domains)


def _has_its_group(identity: Identity, rule: AccessRule, groups: frozenset[str]) -> bool:
    by_domain = rule.groups_by_domain
    needed = by_domain.get(identity.domain, by_domain.get(ANY_OTHER))
    return needed is None or bool(needed & groups)


def _groups(person: Person, rule: AccessRule) -> frozenset[str]:
    if rule.groups_of is Counting.ACCOUNT:
        return person.groups
    return frozenset().union(*(identity.groups for identity in person.logged_in()))


def _looked_at(person: Person, counting: Counting) -> Iterable[Identity]:
    return person.identities if counting is Counting.ACCOUNT else person.logged_in()


def _other_login(person: Person, rule: AccessRule, what: str) -> errors.ReauthenticationRequired:
    """Return the error for a person who has the right identity, and did not log in with it."""
    session_groups = rule.groups_of is Counting.SESSION
    fitting = [
        identity.username
        for identity in person.identities
        if _is_member(rule, (identity,), identity.groups if session_groups else person.groups)
    ]
    needed = f"a login as {' or '.join(fitting)}" if fitting else _requirement(rule)
    return errors.ReauthenticationRequired(
        f"{_logged_in_as(person)} {_capital(what)} needs {needed}. {errors.LOG_IN_AGAIN}",
        domains=tuple(sorted(rule.domains)),
    )


def _policy_not_met(person: Person, rule: AccessRule, what: str) -> errors.HotnodeError | None:
    wanted = policies_of((rule,))
    if wanted <= person.policies.met:
        return None
    if failed := wanted & person.policies.asked - person.policies.met:
        return errors.ReauthenticationRequired(
            f"{_logged_in_as(person)} Your login does not meet the policy of {what}, most likely "
            f"because it is too old. {errors.LOG_IN_AGAIN}",
            policies=tuple(sorted(failed)),
        )
    return errors.PolicyNotEvaluated()


def _too_old(
    person: Person, rule: AccessRule, used: tuple[Identity, ...], what: str
) -> errors.ReauthenticationRequired | None:
    """Return the error for a login past a deadline.

    The latest login counts with an identity that the rule takes: Globus does not say with which
    one a policy was met.
    """
    limits = {policy.id: policy.max_age_s for policy in rule.policies if policy.max_age_s}
    limit = min([*limits.values(), rule.login_max_age_s or float("inf")])
    if limit == float("inf"):
        return None
    times = [i.authentication.at for i in _from(used, rule.domains) if i.authentication]
    age_s = person.as_of - max(times, default=float("-inf"))
    if age_s < limit:
        return None
    return errors.ReauthenticationRequired(
        f"{_logged_in_as(person)} Your login is too old: {what} takes none of more than "
        f"{_days(limit)}. {errors.LOG_IN_AGAIN}",
        policies=tuple(sorted(id_ for id_, max_age_s in limits.items() if age_s >= max_age_s)),
        domains=tuple(sorted(rule.domains)),
    )


def _logged_in_as(person: Person) -> str:
    """Return a sentence that names the identities that were used to log in."""
    names = [identity.username for identity in person.logged_in()] or [person.primary.username]
    return f"You are logged in as {', '.join(names)}."


def _requirement(rule: AccessRule) -> str:
    parts = []
    if rule.groups:
        parts.append("membership in one of the Globus groups " + ", ".join(sorted(rule.groups)))
    if rule.domains:
        parts.append("an identity of " + " or ".join(sorted(rule.domains)))
    if rule.groups_by_domain:
        parts.append("membership in a Globus group for " + " or ".join(_of_domains(rule)))
    return " and ".join(parts) or "to be asked for"


def _of_domains(rule: AccessRule) -> list[str]:
    return [
        f"{'others' if domain == ANY_OTHER else domain} ({', '.join(sorted(groups))})"
        for domain, groups in sorted(rule.groups_by_domain.items())
    ]


def _days(seconds: float) -> str:
    return f"{seconds / _DAY_S:g} days" if seconds >= _DAY_S else f"{seconds / 3600:g} hours"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
