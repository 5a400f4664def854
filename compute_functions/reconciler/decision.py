"""What the reconciler decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from compute_functions.contract.instances import ModelOutlook
from compute_functions.reconciler.actions import Action
from compute_functions.reconciler.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done, in this order, and what is to be told.

    `outlooks` has each desired model. `trouble` is why nothing is done; nothing if there is no
    reason. `memory` goes into the next view.
    """

    actions: tuple[Action, ...] = ()
    outlooks: tuple[ModelOutlook, ...] = ()
    trouble: str = ""
    memory: Memory = field(default_factory=Memory)
