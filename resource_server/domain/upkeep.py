"""How a model is kept at a place: what its file says, and what operators have said since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The `lifecycle` block of a model's file, for one place. Durations are in seconds.

    Between `min` and `max` instances are kept, each with `gpus` GPUs in a job of `walltime_s`. What
    each field means to the site stands at `compute_functions.contract.DesiredModel`.
    """

    gpus: int
    walltime_s: float
    walltime_ratio: float = 0.9
    min: int = 0
    max: int = 1
    idle_timeout_s: float = 600.0
    priority: int = 0
    refresh: bool = True
    autoscale: bool = False


class Wish(StrEnum):
    """What an operator can say of a model."""

    LOAD = "load"
    UNLOAD = "unload"
    PIN = "pin"
    UNPIN = "unpin"
    DISABLE = "disable"
    ENABLE = "enable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What operators have said of a model at a cluster, beside the files.

    `pinned` instances are kept in any case. One that is `unloaded` is kept by nobody until somebody
    asks for it, or it is loaded; one that is `disabled` is not served at all. Times are seconds
    since the epoch by the gateway's clock, 0 for never.
    """

    model: str
    cluster: str
    pinned: int = 0
    disabled: bool = False
    unloaded: bool = False
    loaded_at: float = 0.0
    unloaded_at: float = 0.0

    def told(self, wish: Wish, *, now: float, instances: int = 1) -> Override:
        """Return what holds after an operator has said this, too; `instances` are to be pinned."""
        match wish:
            case Wish.LOAD:
                return replace(self, unloaded=False, loaded_at=now)
            case Wish.UNLOAD:
                return replace(self, unloaded=True, pinned=0, loaded_at=0.0, unloaded_at=now)
            case Wish.PIN:
                return replace(self, unloaded=False, pinned=instances)
            case Wish.UNPIN:
                return replace(self, pinned=0)
            case Wish.DISABLE:
                return replace(self, disabled=True, pinned=0)
            case Wish.ENABLE:
                return replace(self, disabled=False)
