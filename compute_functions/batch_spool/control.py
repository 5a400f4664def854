"""What the runner of a batch is told while it works: written by the agent and by who cancels."""

from __future__ import annotations

import os
from dataclasses import asdict, replace

from batch import whole_file
from batch.control import Control
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchState


def write(folder: BatchFolder, control: Control) -> None:
    """Tell the runner its bounds. That the batch is cancelled is never taken back by this."""
    cancelled = folder.cancelled.exists()
    _put(folder, replace(control, cancel=cancelled))
    if not cancelled and folder.cancelled.exists():
        # Cancelled meanwhile, and our file may stand where the word of it did.
        _put(folder, replace(control, cancel=True))


def cancel(folder: BatchFolder, *, now: float) -> None:
    """Cancel a batch, whatever it does. One that never began is over with this."""
    os.close(os.open(folder.cancelled, os.O_WRONLY | os.O_CREAT, 0o600))
    if Fate(at=now, ended=BatchState.CANCELLED, reason="it was cancelled").decide(folder):
        return
    told = whole_file.read_object(folder.control)
    control = Control() if told is None else Control.from_wire(told)
    if not control.cancel:
        _put(folder, replace(control, cancel=True))


def _put(folder: BatchFolder, control: Control) -> None:
    whole_file.replace(folder.control, whole_file.packed(asdict(control)))
