"""What the site's agent says of a batch: for what it waits, or where it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from batch import whole_file
from compute_functions.batch_spool import flat_file
from compute_functions.batch_spool.folders import BatchFolder

#: The agent's own host, where runners without an engine look large inputs through, before one is
#: wanted for them, and write the results of batches that ask nothing more.
DESK = "the agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """The agent's file. `fence` is that of its lease; `epoch` the highest that it ever gave.

    `instance` works on the batch; None while it waits, and `reason` says for what. `since` is when
    that began, and it does not end before `not_before` (seconds since the epoch). `recorded` lines
    had their record then. `setbacks` counts in a row what stopped it without a line recorded, of
    which `crashes` were deaths of its runner, or engines that refused everything, the first one at
    `crashing_since`. `left_to_engine` is whether runners died so often while they looked its input
    through that one beside an engine is to do so. At `over_at` its runner said that it is over.
    `given_up` is why nothing more is asked for it: what it has is written out.
    """

    fence: int
    epoch: int = 0
    instance: str | None = None
    reason: str = ""
    since: float = 0.0
    not_before: float = 0.0
    recorded: int = 0
    setbacks: int = 0
    crashes: int = 0
    crashing_since: float = 0.0
    left_to_engine: bool = False
    over_at: float = 0.0
    given_up: str = ""

    def write(self, folder: BatchFolder) -> None:
        """Replace the file. The caller has looked at its lease."""
        whole_file.replace(folder.state, whole_file.packed(asdict(self)))

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return what is there; fields of later versions are passed over."""
        return flat_file.read(folder.state, cls)
