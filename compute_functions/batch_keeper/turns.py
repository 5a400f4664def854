"""Decides which batch runs where: pure, without clock or disk; the same scene, the same decision.

A batch that is given to an instance gets an epoch above all before: whoever carries out the
decision takes it, for it needs the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from compute_functions.batch_keeper import ends
from compute_functions.batch_keeper.scene import Claim, Host, Scene, Standing
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.contract.lifecycle import ModelDemand
from compute_functions.reconciler.model_key import ModelKey

#: So many batches at once have their results written beside the agent, and so many others their
#: input looked through: neither waits for the other.
DESKS, EXAMINATIONS = 2, 1
#: Either takes seconds, or a minute. One that takes longer than this (seconds) hangs, as its disk
#: may for hours: others do not wait for it. Only while so many hang, of either, no more inputs are
#: looked through, and no more results written while the latter do: so batches end for longer.
HANGS_AFTER_S, MOST_HANGING, MOST_HANGING_BESIDE_RESULTS = 900.0, 3, 5
_TAKING = frozenset({Standing.READY, Standing.HOLDING})
_OTHERS = "others are before it"
_TAKE_NONE = (
    "the instances of its model take no batches: they began before this site did, or cannot write "
    "to its spool; its operators must act"
)
_GIVES_WAY = "its runner finishes the lines under way, and gives way"
_ENDS = "its results are about to be written"
_UNEXAMINED = "its input is to be checked, after those of others"
_EXAMINED = "its input is being checked"
_HANGS = "its input, or its results, have been under way for too long: the cluster's disk may hang"
_NOT_READY = "no instance of its model is ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How every batch stands from now on, and which of them need a new epoch for that.

    `failed` are given up, with the reason. `troubles` are for the operators.
    """

    states: Mapping[str, AgentState] = field(default_factory=dict)
    assigned: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    demand: tuple[ModelDemand, ...] = ()


def decide(scene: Scene) -> Decision:
    """Return whose turn it is."""
    settled = {
        claim.batch: ends.settled(claim, scene.hosts.get(claim.state.instance or ""), now=scene.now)
        for claim in scene.claims
    }
    failed = {batch: one.failed for batch, one in settled.items() if one.failed}
    claims = {
        claim.batch: _with(settled[claim.batch].state, claim)
        for claim in scene.claims
        if claim.batch not in failed
    }
    table = _Table(scene, claims)
    table.place()
    table.take_turns()
    table.give_reasons()
    return Decision(
        states={batch: claim.state for batch, claim in claims.items()},
        assigned=frozenset(table.assigned),
        failed=failed,
        troubles=tuple(_troubles(claims.values(), scene.now)),
        demand=_demand(claims.values(), scene),
    )


def _with(state: AgentState, claim: Claim) -> Claim:
    """Return the claim as it is from now on: one that is given up asks the engine nothing more."""
    return replace(claim, state=state, ends=claim.ends or bool(state.given_up))


def _is_due(claim: Claim, now: float) -> bool:
    """Tell whether a batch need not pause any more."""
    state = claim.state
    is_long = claim.ends and not 0 <= now - state.since < ends.LONGEST_END_PAUSE_S
    return is_long or state.not_before <= now


class _Table:
    """The batches and the places for them, while one decision is made."""

    def __init__(self, scene: Scene, claims: dict[str, Claim]) -> None:
        self._scene = scene
        self._claims = claims
        self.assigned: set[str] = set()
        #: What each instance has been given so far.
        self._given: dict[str, set[str]] = {}
        for claim in claims.values():
            if claim.state.instance is not None:
                self._given.setdefault(claim.state.instance, set()).add(claim.batch)
        #: Whose input is being looked through, and what hangs beside the agent.
        at_desk = self._given.get(DESK, set())
        self._hanging = self._hanging_of(at_desk)
        self._examined = {batch for batch in at_desk - self._hanging if not claims[batch].ends}
        self._free = {name: self._places(host) for name, host in scene.hosts.items()}
        self._hosts: dict[ModelKey | None, list[str]] = {}
        for name, host in sorted(scene.hosts.items()):
            self._hosts.setdefault(host.key, []).append(name)
        #: Runners that have been told to leave, and have not: nothing else may take their batch.
        self._leaving = {
            batch: host.key
            for host in scene.hosts.values()
            for batch in _at_work(host) - self._given.get(host.instance, set())
            if host.leaving_s <= ends.LEAVES_S
        }

    def _hanging_of(self, at_desk: set[str]) -> set[str]:
        claims, now = self._claims, self._scene.now
        late = {batch for batch in at_desk if _hangs(claims[batch].state, now)}
        desk = self._scene.hosts.get(DESK)
        # Whose batch is over, or forgotten, should have ended: it does in a moment, or hangs.
        return late if desk is None else late | (_at_work(desk) - claims.keys())

    def _places(self, host: Host) -> int:
        """Return how many more batches an instance may have."""
        if host.standing is not Standing.READY:
            return 0
        taken = _at_work(host) | self._given.get(host.instance, set())
        if host.instance == DESK:
            taken -= self._examined | self._hanging
            most = min(DESKS, MOST_HANGING_BESIDE_RESULTS - len(self._hanging))
            return most - len(taken)
        return self._scene.turns - len(taken)

    def _waiting(self) -> list[Claim]:
        """Return who may be given a place now, in the order of their turns."""
        found = (
            claim
            for claim in self._claims.values()
            if claim.state.instance is None and _is_due(claim, self._scene.now)
        )
        free = (claim for claim in found if self._has_left(claim))
        return sorted(free, key=self._turn)

    def _turn(self, claim: Claim) -> tuple[int, float, float, str]:
        if claim.unexamined and not claim.ends:
            # An input that something is wrong with holds up no other, whoever has had less.
            return claim.state.setbacks, self._scene.examined.of(claim.share_of), *claim.order
        return 0, self._scene.shares.of(claim.share_of), *claim.order

    def _has_left(self, claim: Claim) -> bool:
        """Tell whether no runner works on a batch any more, or has had its time to leave."""
        if claim.batch not in self._leaving:
            return True
        return not 0 <= self._scene.now - claim.state.since <= ends.LEAVES_S

    def place(self) -> None:
        """Give each place that is free to whom it is due."""
        for claim in self._waiting():
            key = claim.key if claim.wants_engine else None
            names = [name for name in self._hosts.get(key, ()) if self._has_place(name, claim)]
            if names:
                self._assign(claim, max(names, key=lambda name: (self._free[name], name)))

    def _has_place(self, name: str, claim: Claim) -> bool:
        if name != DESK or claim.ends:
            return self._free[name] > 0
        # Those that were cancelled meanwhile are counted as ends, and have runners all the same.
        is_bounded = self._free[name] >= 0 and len(self._hanging) < MOST_HANGING
        return is_bounded and len(self._examined) < EXAMINATIONS

    def _assign(self, claim: Claim, instance: str) -> None:
        is_examined = instance == DESK and not claim.ends
        if is_examined:
            self._examined.add(claim.batch)
        else:
            self._free[instance] -= 1
        self.assigned.add(claim.batch)
        self._put(
            claim,
            replace(
                claim.state,
                instance=instance,
                reason=_EXAMINED if is_examined else "",
                since=self._scene.now,
                recorded=claim.recorded,
                over_at=0.0,
            ),
        )

    def take_turns(self) -> None:
        """Let who has had a turn give way to who has had less."""
        to_come = Counter(self._leaving.values())
        shares, had_theirs = self._scene.shares, self._had_their_turn()
        for claim in self._waiting():
            if not claim.wants_engine:
                continue
            if to_come[claim.key] > 0:
                to_come[claim.key] -= 1
                continue
            running = had_theirs.get(claim.key, [])
            if running and shares.of(running[-1].share_of) > shares.of(claim.share_of):
                victim = running.pop()
                self._put(victim, ends.stopped(victim, _GIVES_WAY, now=self._scene.now))

    def _had_their_turn(self) -> dict[ModelKey | None, list[Claim]]:
        """Return of each model the batches that have run for long, the greatest use last."""
        found: dict[ModelKey | None, list[Claim]] = {}
        for host in self._scene.hosts.values():
            for batch in self._given.get(host.instance, set()) - self.assigned:
                claim = self._claims[batch]
                is_long = self._scene.now - claim.state.since >= self._scene.quantum_s
                if is_long and host.standing is not Standing.LEAVING:
                    found.setdefault(host.key, []).append(claim)
        shares = self._scene.shares
        for claims in found.values():
            claims.sort(key=lambda one: (shares.of(one.share_of), one.order))
        return found

    def give_reasons(self) -> None:
        """Say for what each one waits; whoever pauses keeps the reason of that."""
        for claim in tuple(self._claims.values()):
            state = claim.state
            if state.instance is None and state.not_before <= self._scene.now:
                self._put(claim, replace(state, reason=self._reason(claim)))

    def _reason(self, claim: Claim) -> str:
        if claim.ends:
            return _ENDS
        if claim.batch in self._leaving:
            return _GIVES_WAY
        if claim.unexamined:
            return _UNEXAMINED
        hosts = (self._scene.hosts[name] for name in self._hosts.get(claim.key, ()))
        standings = {host.standing for host in hosts}
        if standings & _TAKING:
            return _OTHERS
        otherwise = _TAKE_NONE if Standing.WITHOUT in standings else _NOT_READY
        return self._scene.waits.get(claim.key) or otherwise

    def _put(self, claim: Claim, state: AgentState) -> None:
        self._claims[claim.batch] = replace(claim, state=state)


def _troubles(claims: Iterable[Claim], now: float) -> Iterable[str]:
    """Yield what holds batches up, for as long as it does."""
    for claim in claims:
        state = claim.state
        if state.instance is None and state.not_before > now:
            yield f"batch {claim.batch}: {state.reason}"
        elif state.instance == DESK and _hangs(state, now):
            yield f"batch {claim.batch}: {_HANGS}"


def _at_work(host: Host) -> set[str]:
    """Return the batches that an instance has runners for."""
    return {batch for batch, run in host.runs.items() if run.status is None}


def _hangs(state: AgentState, now: float) -> bool:
    """Tell whether what has a runner beside the agent should have been done long ago."""
    return not 0 <= now - state.since < HANGS_AFTER_S


def _wanted(claim: Claim, scene: Scene) -> Literal["waiting", "running"] | None:
    """Return as what a batch wants its model; None if it does not.

    One whose input is being looked through starts none, and keeps one that it will need soon.
    """
    instance = claim.state.instance
    if claim.ends or claim.state.not_before > scene.now:
        return None
    if instance not in {None, DESK}:
        return "running"
    if instance is None:
        return None if claim.unexamined else "waiting"
    if _hangs(claim.state, scene.now):
        return None
    hosts = scene.hosts.values()
    is_there = any(host.key == claim.key and host.standing in _TAKING for host in hosts)
    return "running" if is_there else None


def _demanded(claim: Claim, scene: Scene) -> ModelKey:
    """Return the instances that a batch needs: it may run where it did before its file changed."""
    host = scene.hosts.get(claim.state.instance or "")
    if host is None or host.key is None:
        return claim.key
    return replace(claim.key, purpose=host.key.purpose)


def _demand(claims: Iterable[Claim], scene: Scene) -> tuple[ModelDemand, ...]:
    """Return how much models are wanted for batches: for those that run, and those that could."""
    sums: dict[ModelKey, Counter[str]] = {}
    for claim in claims:
        wanted = _wanted(claim, scene)
        if wanted is not None:
            sums.setdefault(_demanded(claim, scene), Counter())[wanted] += 1
    return tuple(
        ModelDemand(
            model=key.model,
            framework=key.framework,
            purpose=key.purpose,
            waiting=counts["waiting"],
            running=counts["running"],
        )
        for key, counts in sorted(sums.items())
    )
