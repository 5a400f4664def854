"""Remembers which models fail to start and which nodes do not answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compute_functions.drivers.driver import JobState
from compute_functions.reconciler.memory import Memory, ModelMemory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.standing import Judged, Standing
from compute_functions.reconciler.view import View


def learnt(view: View, judged: tuple[Judged, ...]) -> Memory:
    """Return the memory with what this view tells of nodes, of failed starts and of good ones."""
    culprits = _culprits(view.memory, judged)
    models = dict(view.memory.models)
    for key in culprits.values():
        models[key] = models.get(key, ModelMemory()).failed(view.now)
    for key in {one.key for one in judged if _proves(one, models.get(one.key), view)}:
        models[key] = replace(models[key], failures=0, failed_at=None)
    present = {one.member.instance for one in judged}
    return replace(
        view.memory,
        models=models,
        suspects=_suspects(view, judged),
        blamed=frozenset((view.memory.blamed | set(culprits)) & present),
        mute=_mute(view),
    )


def unproven(
    view: View, judged: Iterable[Judged], dismissed: frozenset[str]
) -> Mapping[str, ModelKey]:
    """Return the instances that still have to show that they start, but for those dismissed."""
    return {
        one.member.instance: one.key
        for one in judged
        if one.live
        and one.member.instance not in dismissed
        and (one.ready_at is None or one.ready_at + view.policy.proof_s > view.now)
    }


def _culprits(memory: Memory, judged: tuple[Judged, ...]) -> dict[str, ModelKey]:
    """Return the instances whose start failed, each told of once."""
    there = {one.member.instance: one for one in judged}
    seen = {name: one.key for name, one in there.items() if one.failed_start}
    vanished = {
        name: key
        for name, key in memory.unproven.items()
        if name not in there or there[name].standing is Standing.GONE
    }
    failed = sorted((seen | vanished).items())
    return {name: key for name, key in failed if name not in memory.blamed}


def _proves(one: Judged, known: ModelMemory | None, view: View) -> bool:
    """Tell whether an instance shows that its model starts again after it failed."""
    if known is None or known.failed_at is None or one.standing is not Standing.READY:
        return False
    ready_at = one.ready_at
    return ready_at is not None and known.failed_at < ready_at <= view.now - view.policy.proof_s


def _suspects(view: View, judged: Iterable[Judged]) -> dict[str, float]:
    kept = {node: until for node, until in view.memory.suspects.items() if until > view.now}
    seen = {node for one in judged if one.suspect for node in one.member.nodes}
    return kept | dict.fromkeys(sorted(seen), view.now + view.policy.suspect_s)


def _mute(view: View) -> dict[str, float]:
    return {
        member.instance: view.memory.mute.get(member.instance, view.now)
        for member in view.members
        if member.state is JobState.RUNNING and member.registered is None
    }
