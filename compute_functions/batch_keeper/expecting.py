"""Whether an instance is on its way for which a batch waits: then the agent looks more often."""

from __future__ import annotations

from collections.abc import Iterable

from compute_functions.batch_keeper.scene import Scene
from compute_functions.batch_keeper.turns import Decision
from compute_functions.contract.instances import InstanceState
from compute_functions.reconciler.member import Member


def expects(scene: Scene, decision: Decision, members: Iterable[Member]) -> bool:
    """Tell whether some batch could run as soon as an engine that loads is ready."""
    starting = {
        member.key
        for member in members
        if member.registered and member.registered.state is InstanceState.STARTING
    }
    waiting = (claim for claim in scene.claims if claim.wants_engine and claim.key in starting)
    states = (decision.states.get(claim.batch) for claim in waiting)
    return any(
        state is not None and state.instance is None and state.not_before <= scene.now
        for state in states
    )
