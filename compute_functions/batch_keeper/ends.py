"""What becomes of a batch that an instance was given: from its runner's end, or the instance's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from batch.commands.run import DISK, OVER, REFUSED, RESUME, TAKEN_OVER
from compute_functions.batch_keeper.scene import Claim, Host, Standing
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool.agent_state import DESK, AgentState

#: An instance that was given a batch begins it within this (seconds).
BEGINS_S = 60.0
#: A runner that was told to leave has left by then; its own limit is lower (seconds).
LEAVES_S = 45.0
#: The outcome of a batch that is over is seen by then on every node (seconds).
SEEN_S = 10.0
#: The pause after a setback; it doubles with each in a row, up to the longest (seconds).
PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
_MOST_DOUBLINGS = 16
#: Somebody who cancels a batch that pauses does not wait for its end for longer (seconds).
LONGEST_END_PAUSE_S = 60.0
#: A batch whose runners die, or find an engine that refuses everything, so often in a row, and for
#: so long (seconds), without recording a line is given up: what ails a whole cluster for some
#: minutes, as its disk may, must not cost all its batches.
MOST_CRASHES, CRASHES_FOR_S = 6, 1_800.0
#: After so many deaths in a row of its runners an input is no longer looked through beside the
#: agent, whose host may allow a process little memory, but by a runner of an instance.
MOST_DEATHS = 3
_DISK_FAILS = "the cluster's disk fails; tried again later"
_TOLD_TO_LEAVE = "its runner was told to leave"
_LEFT_EARLY = "its runner left before its results were written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a batch stands now. `failed` is why it is given up; nothing if it is not."""

    state: AgentState
    failed: str = ""


def settled(claim: Claim, host: Host | None, *, now: float) -> Settled:
    """Return how a batch stands, given what its instance says; None for one that is gone."""
    state = claim.state
    if state.instance is None:
        return Settled(state=state)
    if host is None:
        return Settled(state=_released(claim, "its instance ended", now=now))
    run = host.runs.get(claim.batch)
    if run is None or run.epoch != state.epoch:
        return Settled(state=_before_it_began(claim, host, now=now))
    if host.standing is Standing.LEAVING and _has_left(host, run):
        return Settled(state=_released(claim, "its instance ended", now=now))
    return Settled(state=state) if run.status is None else _after(claim, run, now=now)


def _has_left(host: Host, run: Run) -> bool:
    """Tell whether a runner of an instance that drains has left, or had its time to."""
    return run.status == RESUME or (run.status is None and host.leaving_s > LEAVES_S)


def _before_it_began(claim: Claim, host: Host, *, now: float) -> AgentState:
    if host.standing is Standing.LEAVING:
        return _released(claim, "its instance ended", now=now)
    # A clock that was set back must not hold it up either.
    if 0 <= now - claim.state.since <= BEGINS_S:
        return claim.state
    if host.instance == DESK:
        # It was begun by an agent that has ended since, and its runners with it.
        return _released(claim, "", now=now)
    return _set_back(claim, "its instance did not begin it", now=now)


def _after(claim: Claim, run: Run, *, now: float) -> Settled:
    """Return how a batch stands whose runner ended."""
    if run.status in {OVER, REFUSED}:
        return Settled(state=_over(claim, now=now))
    if run.status == TAKEN_OVER:
        return Settled(state=_released(claim, "", now=now))
    if run.status == RESUME:
        return _to_be_resumed(claim, now=now)
    if run.status == DISK:
        return Settled(state=_set_back(claim, _DISK_FAILS, now=now))
    return _crashed(claim, run, now=now)


def _to_be_resumed(claim: Claim, *, now: float) -> Settled:
    if claim.state.instance == DESK:
        return Settled(state=_left_desk(claim, now=now))
    return _refused(claim, now=now) if claim.refusal else Settled(state=_left(claim, now=now))


def _left_desk(claim: Claim, *, now: float) -> AgentState:
    """Let a batch whose input is good wait for its instance; else something ended its runner."""
    if claim.unexamined:
        return _set_back(claim, _TOLD_TO_LEAVE, now=now)
    if claim.ends:
        again = _set_back(claim, _LEFT_EARLY, now=now)
        # It was cancelled between its runner's last look and ours: the next one ends it at once.
        # Only where that happens again something is wrong.
        return again if again.setbacks > 1 else replace(again, reason="", not_before=0.0)
    examined = _released(claim, "", now=now)
    return replace(examined, setbacks=0, crashes=0, crashing_since=0.0)


def _over(claim: Claim, *, now: float) -> AgentState:
    """Wait for the outcome to be seen; without one, as on a disk that lost it, begin again."""
    state = claim.state
    if not state.over_at:
        return replace(state, over_at=now)
    if 0 <= now - state.over_at <= SEEN_S:
        return state
    return _released(claim, "its outcome was not found", now=now)


def _left(claim: Claim, *, now: float) -> AgentState:
    """Let a batch go on elsewhere at once if there was progress: its engine or its time ended."""
    if claim.recorded > claim.state.recorded:
        return _released(claim, "its runner ended before the batch", now=now)
    return _set_back(claim, "its engine did not answer", now=now)


def _crashed(claim: Claim, run: Run, *, now: float) -> Settled:
    return _in_vain(claim, f"its runner died (status {run.status})", now=now)


def _refused(claim: Claim, *, now: float) -> Settled:
    """Let a batch try an engine that refuses everything again, or another; not for ever."""
    return _in_vain(claim, claim.refusal, now=now)


def _in_vain(claim: Claim, reason: str, *, now: float) -> Settled:
    """Set a batch back; one to which that happens again and again is given up.

    What is recorded is no worse for that: it is written out, by a runner without an engine. Only
    one that has nothing, or of which not even that can be done, is failed.
    """
    state = _set_back(claim, reason, now=now)
    is_row = not _had_no_runner(claim.state)
    crashes = state.crashes + 1 if is_row else 1
    # A clock that was set back, or a file of before, begins now.
    since = state.crashing_since if is_row and 0 < state.crashing_since <= now else now
    left = _is_left_to_engine(claim, crashes)
    state = replace(state, crashes=crashes, crashing_since=since, left_to_engine=left)
    if crashes < MOST_CRASHES or now - since < CRASHES_FOR_S:
        return Settled(state=state)
    minutes = f"in {(now - since) / 60:.0f} minutes"
    given_up = f"{crashes} times in a row, {minutes}, without a line done: {reason}"
    if claim.recorded and not state.given_up:
        begun = replace(_released(claim, "", now=now), crashes=0, crashing_since=0.0)
        return Settled(state=replace(begun, given_up=given_up))
    return Settled(state=state, failed=given_up)


def _is_left_to_engine(claim: Claim, crashes: int) -> bool:
    """Tell whether a runner beside an engine is to look the input through, now or before."""
    return claim.state.left_to_engine or (claim.unexamined and crashes >= MOST_DEATHS)


def _had_no_runner(state: AgentState) -> bool:
    """Tell whether the death before is long ago because the batch waited for its turn since."""
    return 0 < state.not_before < state.since - CRASHES_FOR_S


def _released(claim: Claim, reason: str, *, now: float) -> AgentState:
    """Return the state of a batch that waits for its next turn; what it had recorded is known."""
    went_on = claim.recorded > claim.state.recorded
    return replace(
        claim.state,
        instance=None,
        reason=reason,
        since=now,
        not_before=0.0,
        over_at=0.0,
        recorded=claim.recorded,
        setbacks=0 if went_on else claim.state.setbacks,
        crashes=0 if went_on else claim.state.crashes,
        crashing_since=0.0 if went_on else claim.state.crashing_since,
    )


def _set_back(claim: Claim, reason: str, *, now: float) -> AgentState:
    """Return the same with a pause: what stopped it may stop it again."""
    state = _released(claim, reason, now=now)
    pause_s = min(PAUSE_S * 2 ** min(state.setbacks, _MOST_DOUBLINGS), LONGEST_PAUSE_S)
    return replace(state, setbacks=state.setbacks + 1, not_before=now + pause_s)


def stopped(claim: Claim, reason: str, *, now: float) -> AgentState:
    """Return the state of a batch that must give way; its runner is told to leave."""
    return _released(claim, reason, now=now)
