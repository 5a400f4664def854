"""Judges how each instance stands: a job that runs is not yet an instance that serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compute_functions.contract.instances import InstanceState
from compute_functions.contract.lifecycle import DesiredModel
from compute_functions.drivers.driver import JobState
from compute_functions.reconciler.member import Member, Registered
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View

#: With so many missed heartbeats or failed probes an instance is lost.
LOST_AFTER = 2
#: Only several instances on several nodes can tell a broken disk from a broken node.
_WITNESSES = 2
#: Of an instance's own words so much is passed on (characters).
_MOST_SAID = 300
#: In these states somebody renews the heartbeat.
_ATTENDED = frozenset({InstanceState.STARTING, InstanceState.READY, InstanceState.DRAINING})

_Verdict = tuple[Standing, str]


def judge(view: View) -> tuple[Judged, ...]:
    """Return every instance with its standing, in the order of their names."""
    blind = is_blind(view)
    wanted: dict[str, list[DesiredModel]] = {}
    for model in view.desired.models if view.desired else ():
        wanted.setdefault(model.model, []).append(model)
    members = sorted(view.members, key=lambda member: member.instance)
    return tuple(_judged(member, view, wanted, blind=blind) for member in members)


def missed(said: Registered, policy: Policy) -> int:
    """Return how many heartbeats in a row are missing."""
    return max(0, int((said.silent_s - policy.slack_s) // policy.heartbeat_s))


def is_blind(view: View) -> bool:
    """Tell whether all instances fell silent together, and not long ago: rather the shared disk."""
    heard = [
        (member, member.registered)
        for member in view.members
        if member.state is JobState.RUNNING
        and member.registered
        and member.registered.state in _ATTENDED
    ]
    nodes = {node for member, _ in heard for node in member.nodes}
    if len(heard) < _WITNESSES or len(nodes) < _WITNESSES:
        return False
    silences = [said.silent_s for _, said in heard]
    return max(silences) < view.policy.blind_s and all(
        missed(said, view.policy) for _, said in heard
    )


def _judged(
    member: Member, view: View, wanted: Mapping[str, Sequence[DesiredModel]], *, blind: bool
) -> Judged:
    named = wanted.get(member.model, ())
    model = next((one for one in named if _is_of(member, one)), None)
    key = ModelKey.of(model) if model else member.key
    gpus = member.gpus if member.gpus is not None else (model.gpus if model else 0)
    standing, fault = _standing(member, view, blind=blind)
    return Judged(
        member=member,
        key=key,
        gpus=gpus,
        standing=standing,
        fault=fault,
        failed_start=standing is Standing.LOST and not _proven(member, view),
        suspect=_tells_against_node(member, view, standing, blind=blind),
    )


def _is_of(member: Member, model: DesiredModel) -> bool:
    """Tell whether an instance is one of a model's; if its order is lost, its framework is, too."""
    return member.framework in ("", model.framework) and member.purpose == model.purpose


def _standing(member: Member, view: View, *, blind: bool) -> _Verdict:
    if member.state is JobState.ENDING:
        return Standing.GONE, ""
    if member.state is JobState.PENDING:
        return (Standing.LEAVING if member.draining else Standing.WAITING), ""
    if member.ends_at is not None and member.ends_at <= view.now:
        return Standing.GONE, ""
    if member.registered is None:
        return _unheard(member, view)
    return _heard(member, member.registered, view, blind=blind)


def _unheard(member: Member, view: View) -> _Verdict:
    if member.draining:
        return Standing.LEAVING, ""
    if _is_late(member, view, view.policy.register_s) and _is_mute(member, view):
        return Standing.LOST, f"it did not register within {view.policy.register_s:g} s"
    return Standing.STARTING, ""


def _heard(member: Member, said: Registered, view: View, *, blind: bool) -> _Verdict:
    if said.state is InstanceState.FAILED:
        return Standing.LOST, _failure(said.detail)
    if said.state is InstanceState.STOPPED:
        return Standing.LEAVING, ""
    if _misses(said, view.policy, blind=blind) >= LOST_AFTER:
        return Standing.LOST, "it does not answer"
    if member.draining or said.state is InstanceState.DRAINING:
        return Standing.LEAVING, ""
    return _answers(member, said, view)


def _failure(detail: str) -> str:
    """Return that an instance failed, and why, in one line for the log."""
    why = " ".join(detail.split())[:_MOST_SAID]
    return f"it failed: {why}" if why else "it failed"


def _answers(member: Member, said: Registered, view: View) -> _Verdict:
    if said.state is InstanceState.READY:
        # However many instances are silent with it: nobody relies on it now.
        doubtful = said.failed_probes or missed(said, view.policy)
        return (Standing.DOUBTFUL if doubtful else Standing.READY), ""
    limit_s = view.policy.start_within_s(member.model)
    if _is_late(member, view, limit_s):
        return Standing.LOST, f"it was not ready within {limit_s:g} s"
    return Standing.STARTING, ""


def _misses(said: Registered, policy: Policy, *, blind: bool) -> int:
    return max(said.failed_probes, 0 if blind else missed(said, policy))


def _is_late(member: Member, view: View, limit_s: float) -> bool:
    return member.started_at is not None and member.started_at + limit_s < view.now


def _is_mute(member: Member, view: View) -> bool:
    """Tell whether the registration has been away for long: it may just be unreadable."""
    since = view.memory.mute.get(member.instance, view.now)
    return since + view.policy.slack_s + LOST_AFTER * view.policy.heartbeat_s <= view.now


def _proven(member: Member, view: View) -> bool:
    """Tell whether the start succeeded, whatever came later."""
    said = member.registered
    if said is None or said.ready_at is None:
        return False
    # Ready, but silent: that is its node's fault.
    return said.state is InstanceState.READY or said.ready_at + view.policy.proof_s <= view.now


def _tells_against_node(member: Member, view: View, standing: Standing, *, blind: bool) -> bool:
    said = member.registered
    if standing is Standing.GONE or member.state is not JobState.RUNNING:
        return False
    if said is None:
        return standing is Standing.LOST
    return said.state in _ATTENDED and _misses(said, view.policy, blind=blind) > 0
