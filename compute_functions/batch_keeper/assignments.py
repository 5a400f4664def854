"""Which batches an instance is to work on: the agent's word, replaced in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from batch import whole_file
from compute_functions.batch_spool.folders import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignments:
    """The epoch of each batch that an instance is to work on; `fence` is that of the agent's lease.

    What a runner must know besides stands in the batch's order and in its `control.json`.
    """

    fence: int = 0
    epochs: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def file(spool: Spool, instance: str) -> Path:
        """Return where an instance finds them."""
        return spool.assigned_folder / f"{instance}.json"

    def write(self, spool: Spool, instance: str) -> None:
        """Tell an instance; it looks four times a second."""
        values = {"fence": self.fence, "epochs": dict(self.epochs)}
        whole_file.replace(self.file(spool, instance), whole_file.packed(values))

    @classmethod
    def read(cls, spool: Spool, instance: str) -> Self | None:
        """Return what an instance was told; None if nothing, or nothing that can be read."""
        values = whole_file.read_object(cls.file(spool, instance))
        if values is None:
            return None
        fence, epochs = values.get("fence"), values.get("epochs")
        if not isinstance(fence, int) or not isinstance(epochs, dict):
            return None
        return cls(
            fence=fence,
            epochs={batch: epoch for batch, epoch in epochs.items() if isinstance(epoch, int)},
        )
