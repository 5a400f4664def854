"""All that the spool says of one batch, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from compute_functions.batch_spool import checking, order_file, pieces
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.batch_spool.place import Delivered, Place
from compute_functions.batch_spool.told import Examined, Outcome, Progress
from compute_functions.contract.batches import BatchOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """One batch. What is None was not written yet.

    `received` is how many bytes of an upload there are, `input_bytes` those of the whole input.
    """

    folder: BatchFolder
    order: BatchOrder
    place: Place
    fate: Fate | None = None
    state: AgentState | None = None
    examined: Examined | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    delivered: Delivered | None = None
    cancelled: bool = False
    input_bytes: int | None = None
    received: int = 0

    @property
    def has_input(self) -> bool:
        """Whether the whole input is here."""
        return self.input_bytes is not None

    @property
    def recorded(self) -> int:
        """How many lines have their record, as far as anybody said yet."""
        # A runner that checks the input, or reads the journal, does not know yet.
        told = 0 if self.progress is None else self.progress.completed + self.progress.failed
        return told if self.state is None else max(told, self.state.recorded)

    @property
    def wants_examination(self) -> bool:
        """Whether its input is still to be looked through, before an engine is wanted for it.

        A small one was when it came. One of which runners die is left to an instance's.
        """
        if self.state is not None and self.state.left_to_engine:
            return False
        is_large = (self.input_bytes or 0) > checking.AT_ONCE_BYTES
        return is_large and self.examined is None and not self.recorded

    @property
    def began(self) -> bool:
        """Whether a runner was, or is about to be, started."""
        return self.fate is not None and self.fate.ended is None

    @property
    def over(self) -> bool:
        """Whether no runner is needed any more; its results may still have to be put in place."""
        return self.ended_at is not None

    @property
    def ended_at(self) -> float | None:
        """Since when it is over (seconds since the epoch); None while it is not."""
        if self.outcome is not None:
            return self.outcome.ended_at
        if self.fate is not None and self.fate.ended is not None:
            return self.fate.at
        return None

    @property
    def wants_input(self) -> bool:
        """Whether its input is a file of the cluster that was not taken yet."""
        return not self.over and not self.has_input and self.order.input_path is not None

    @property
    def wants_runner(self) -> bool:
        """Whether there is something for a runner to do, were it only to write out the results."""
        return not self.over and self.has_input

    @property
    def wants_delivery(self) -> bool:
        """Whether it is over, and that was not told yet in the place that the order wants."""
        return self.over and self.place.folder is not None and self.delivered is None


def read(folder: BatchFolder) -> BatchView:
    """Read a batch; `BatchUnknown` without one, `ConfigurationError` for files that are damaged."""
    first = BatchView(folder=folder, order=order_file.read(folder), place=Place.read(folder))
    return read_again(first)


def read_again(known: BatchView) -> BatchView:
    """Read a batch of which something is known: what never changes is not read twice."""
    folder = known.folder
    # The outcome first: what was written before it is read after it.
    outcome = known.outcome or Outcome.read(folder)
    input_bytes = known.input_bytes if known.has_input else _size(folder.input)
    return replace(
        known,
        outcome=outcome,
        fate=known.fate or Fate.read(folder),
        state=AgentState.read(folder),
        examined=known.examined or Examined.read(folder),
        progress=Progress.read(folder),
        delivered=known.delivered or Delivered.read(folder),
        cancelled=known.cancelled or folder.cancelled.exists(),
        input_bytes=input_bytes,
        received=known.received if known.has_input else pieces.received(folder, known.order),
    )


def _size(path: Path) -> int | None:
    """Return the length of a file; None without one."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
