"""Everything that the next turns are decided on, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from compute_functions.batch_keeper.shares import Shares
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.reconciler.model_key import ModelKey


class Standing(StrEnum):
    """What an instance can do for batches. One that can do nothing is not told of."""

    #: It takes batches.
    READY = "ready"
    #: It takes none for now, and keeps those it has: it was just silent.
    HOLDING = "holding"
    #: It says nothing of batches: it began before its site took any, or cannot write to the spool.
    WITHOUT = "without"
    #: It drains: its runners are finishing the lines under way.
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One instance. `runs` are its runners by batch; it has been leaving for `leaving_s`."""

    instance: str
    key: ModelKey | None
    standing: Standing
    runs: Mapping[str, Run] = field(default_factory=dict)
    leaving_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One batch that wants a runner.

    `ends` is whether it asks the engine nothing more: it was cancelled or given up, or its time is
    over, and its results are to be written. `unexamined` is whether its input is to be looked
    through before it asks anything. `recorded` counts the lines that have their record, as far as
    anybody said yet. `refusal` is why its last runner gave up an engine that refused everything.
    """

    batch: str
    key: ModelKey
    share_of: str
    created_at: float
    state: AgentState
    ends: bool = False
    unexamined: bool = False
    recorded: int = 0
    refusal: str = ""

    @property
    def wants_engine(self) -> bool:
        """Whether its next runner is to ask an engine."""
        return not self.ends and not self.unexamined

    @property
    def order(self) -> tuple[float, str]:
        """Return what orders the batches of one owner."""
        return self.created_at, self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What there is at `now` (seconds since the epoch).

    `shares` is what owners have had of engines, `examined` how much of their inputs was looked
    through. `turns` is how many batches an instance works on at once. `waits` says of models why
    nothing runs of them; of others there is nothing to say.
    """

    now: float
    claims: tuple[Claim, ...]
    hosts: Mapping[str, Host]
    shares: Shares
    turns: int
    quantum_s: float
    waits: Mapping[ModelKey, str] = field(default_factory=dict)
    examined: Shares = field(default_factory=Shares)
