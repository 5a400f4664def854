"""All that the spool says of one batch, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compute_functions.batch_spool import order_file, pieces
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.batch_spool.place import Delivered, Place
from compute_functions.batch_spool.told import Examined, Outcome, Progress
from compute_functions.contract.batches import BatchOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """One batch. What is None was not written yet; `has_input` is whether the whole input is here.

    `received` is how many bytes of an upload there are.
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
    has_input: bool = False
    received: int = 0

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
    has_input = known.has_input or folder.input.exists()
    return replace(
        known,
        outcome=outcome,
        fate=known.fate or Fate.read(folder),
        state=AgentState.read(folder),
        examined=known.examined or Examined.read(folder),
        progress=Progress.read(folder),
        delivered=known.delivered or Delivered.read(folder),
        cancelled=known.cancelled or folder.cancelled.exists(),
        has_input=has_input,
        received=known.received if known.has_input else pieces.received(folder, known.order),
    )
