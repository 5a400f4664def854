"""What the site's instances can do for batches, as the agent sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from compute_functions.batch_keeper.scene import Host, Standing
from compute_functions.batch_keeper.working import Working
from compute_functions.contract.instances import InstanceState
from compute_functions.drivers.driver import JobState
from compute_functions.reconciler.judgement import LOST_AFTER, missed
from compute_functions.reconciler.member import Member, Registered
from compute_functions.reconciler.policy import Policy


class Hosts:
    """Makes hosts of members; it remembers since when each one leaves."""

    def __init__(self, policy: Policy, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._leaving_since: dict[str, float] = {}

    def of(self, members: Iterable[Member], working: Mapping[str, Working]) -> dict[str, Host]:
        """Return the instances that work on batches, or may."""
        now = self._clock()
        found: dict[str, Host] = {}
        for member in members:
            standing = self._standing(member, takes=member.instance in working)
            if standing is None:
                continue
            name = member.instance
            since = self._leaving_since.get(name, now)
            runs = working.get(name, Working()).runs
            found[name] = Host(
                instance=name,
                key=member.key,
                standing=standing,
                runs={run.batch: run for run in runs},
                leaving_s=now - since if standing is Standing.LEAVING else 0.0,
            )
        self._leaving_since = {
            name: self._leaving_since.get(name, now)
            for name, host in found.items()
            if host.standing is Standing.LEAVING
        }
        return found

    def _standing(self, member: Member, *, takes: bool) -> Standing | None:
        said = member.registered
        if said is None or member.state is JobState.ENDING:
            return None
        silences = missed(said, self._policy)
        if silences >= LOST_AFTER:
            return None
        if said.state is InstanceState.DRAINING or (_serves(said) and member.draining):
            return Standing.LEAVING
        if not _serves(said):
            return None
        if not takes:
            return Standing.WITHOUT
        return Standing.HOLDING if silences else Standing.READY


def _serves(said: Registered) -> bool:
    return said.state is InstanceState.READY
