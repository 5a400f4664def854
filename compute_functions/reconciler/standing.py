"""How an instance stands, in the few words that decisions are made by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from compute_functions.reconciler.member import Member
from compute_functions.reconciler.model_key import ModelKey


class Standing(StrEnum):
    """What an instance counts for."""

    #: Its job is in the queue.
    WAITING = "waiting"
    #: Its job runs, and there is still time to become ready.
    STARTING = "starting"
    READY = "ready"
    #: Ready, but its last heartbeat or probe is missing.
    DOUBTFUL = "doubtful"
    #: It takes no new requests.
    LEAVING = "leaving"
    #: It does not answer, failed, or took too long: its job is cancelled.
    LOST = "lost"
    #: Its job ends: it counts for its GPUs alone.
    GONE = "gone"


#: What counts as an instance that the model has, or will have.
LIVE = frozenset({Standing.WAITING, Standing.STARTING, Standing.READY, Standing.DOUBTFUL})
#: What may have requests under way.
SERVING = frozenset({Standing.READY, Standing.DOUBTFUL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An instance with its standing.

    `key` and `gpus` are completed from what is desired where the order is lost. `fault` is why it
    is lost, and `failed_start` whether that tells against its model; `suspect` whether it tells
    against its nodes.
    """

    member: Member
    key: ModelKey
    gpus: int
    standing: Standing
    fault: str = ""
    failed_start: bool = False
    suspect: bool = False

    @property
    def live(self) -> bool:
        """Whether its model has it, or will have."""
        return self.standing in LIVE

    @property
    def serving(self) -> bool:
        """Whether requests may be under way."""
        return self.standing in SERVING

    @property
    def in_flight(self) -> int | None:
        """Return how many requests are under way; None if nobody knows."""
        said = self.member.registered
        return said.in_flight if said else 0

    @property
    def ready_at(self) -> float | None:
        """Return when it became ready."""
        return self.member.registered.ready_at if self.member.registered else None

    @property
    def ends_at(self) -> float:
        """Return when its walltime ends, infinitely late where nobody knows."""
        return float("inf") if self.member.ends_at is None else self.member.ends_at
