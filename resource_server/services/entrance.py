"""Who is let into the service at all, and against which policies logins are held."""

from __future__ import annotations

from collections.abc import Callable

from resource_server.domain import policy
from resource_server.domain.catalog import AccessRule, Catalog
from resource_server.domain.identity import Person


class Entrance:
    """Applies the service's own rule; clusters, projects and models have theirs in the catalog."""

    def __init__(self, rule: AccessRule, catalog: Callable[[], Catalog]) -> None:
        self._rule = rule
        self._catalog = catalog
        self._read: Catalog | None = None
        self._policies: frozenset[str] = frozenset()

    def policies(self) -> frozenset[str]:
        """Return the ids of all policies that the service and its present catalog name."""
        catalog = self._catalog()
        if catalog is not self._read:
            self._policies = policy.policies_of((self._rule, *policy.rules_of(catalog)))
            self._read = catalog
        return self._policies

    def require(self, person: Person) -> None:
        """Raise `Forbidden` or `PolicyNotEvaluated` unless the person may come in."""
        policy.require_service(person, self._rule)
