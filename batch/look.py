"""What a runner looks at while it runs: whether it is its turn still, and what it is told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from batch import whole_file
from batch.control import Control, Load
from batch.folder import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was found."""

    control: Control
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Where to look; `load` is a file outside the folder, or None."""

    folder: Folder
    epoch: int
    load: Path | None

    def take(self) -> News:
        """Look once, or raise `TakenOver`. Blocks."""
        self.folder.epochs.require(self.epoch)
        load = None if self.load is None else whole_file.read_object(self.load)
        return News(
            control=Control.from_wire(whole_file.read_object(self.folder.control) or {}),
            load=Load.from_wire(load, now=time.time()),
        )
