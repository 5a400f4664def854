"""Which sites are still to hear that nothing is kept there any more.

A site goes by what it was told last, for ever: it starts the next instance of a hot model when the
last one ends. On its link it hears of every change. By task it is spoken with while models are kept
there, and after that until it says that it has heard of the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compute_functions.contract import AgentReport, DesiredState

#: Of who has never been told anything.
_UNTOLD = (0, 0)


class Farewells:
    """Follows what is desired of each site, and what its agent says that it works by."""

    def __init__(self) -> None:
        #: Since which version nothing is kept at a site, as far back as this process knows.
        self._since: dict[str, tuple[int, int]] = {}
        #: The sites that this hub may have told of models, and that have not heard of the end.
        self._told: set[str] = set()

    @property
    def told(self) -> frozenset[str]:
        """The sites that are owed an end, now or one day: a hub that begins anew must know them."""
        return frozenset(self._told)

    def remember(self, told: Iterable[str]) -> None:
        """Take over what an earlier process of this hub knew, before anything is desired."""
        self._told |= set(told)

    def take(self, desired: Mapping[str, DesiredState]) -> None:
        """Take what is desired of all sites from now on.

        Of one that is gone from the catalog nothing is known until it is back: the first catalog
        of a process may be empty.
        """
        self._since = {
            name: self._since.get(name, state.version)
            for name, state in desired.items()
            if not state.models
        }
        self._told |= desired.keys() - self._since.keys()

    def hear(self, cluster: str, agent: AgentReport | None) -> None:
        """Take what a site has just answered; without an agent it has nothing to be told."""
        since = self._since.get(cluster)
        if since is not None and (agent is None or _version(agent) >= since):
            self._told.discard(cluster)

    def is_due(self, cluster: str, agent: AgentReport | None) -> bool:
        """Tell whether a site, of which this was heard last, works by what is over."""
        since = self._since.get(cluster)
        if since is None:
            return False
        version = _version(agent) if agent else _UNTOLD
        return cluster in self._told if version == _UNTOLD else version < since


def _version(agent: AgentReport) -> tuple[int, int]:
    return agent.generation, agent.revision
