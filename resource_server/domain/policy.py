"""Who may do what: pure decisions over identities and access rules."""

from __future__ import annotations

from resource_server.domain import errors
from resource_server.domain.catalog import AccessRule, Cluster, Model
from resource_server.domain.identity import Person


def may_use(person: Person, rule: AccessRule) -> bool:
    """Tell whether a person satisfies every part of a rule."""
    in_group = not rule.groups or bool(rule.groups & person.groups)
    return in_group and _from_domain(person, rule.domains)


def require_cluster(person: Person, cluster: Cluster) -> None:
    """Raise `Forbidden` unless the person may use the cluster."""
    if not may_use(person, cluster.access):
        raise errors.Forbidden(
            f"'{person.primary.username}' may not use the cluster '{cluster.name}'. "
            "Log in with another identity, or ask the operators for access: "
            f"{_requirement(cluster.access)}."
        )


def require_model(person: Person, model: Model | None, model_id: str) -> Model:
    """Return the model, or raise `ModelNotFound` if it is absent or hidden from the person.

    The two cases read alike, so that nobody learns which private models exist.
    """
    if model is None or not may_use(person, model.access):
        raise errors.ModelNotFound(
            f"The model '{model_id}' does not exist here or you may not use it. "
            "GET …/v1/models lists the models you may use."
        )
    return model


def _from_domain(person: Person, domains: frozenset[str]) -> bool:
    """Tell whether any of the person's identities comes from one of `domains`."""
    if not domains:
        return True
    return any(identity.domain in domains for identity in (person.primary, *person.linked))


def _requirement(rule: AccessRule) -> str:
    parts = []
    if rule.groups:
        parts.append("membership in one of the Globus groups " + ", ".join(sorted(rule.groups)))
    if rule.domains:
        parts.append("an identity of " + " or ".join(sorted(rule.domains)))
    return " and ".join(parts)
