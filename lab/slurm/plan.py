"""What a cluster of the lab should be: name, nodes, GPUs, and how fast its clocks run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

#: What every node claims to have. Slurm believes it, whatever the machine has.
CPUS = 16
MEMORY_MB = 65_536
GPU_TYPE = "a100"
#: A network of loopback has that many addresses for nodes.
MOST_NODES = 250
_LEAST_REQUEUE_S = 5
_NAME = re.compile(r"[a-z][a-z0-9]{0,19}")


class PlanRefused(ValueError):
    """No cluster can be made to this plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How long Slurm waits for what (seconds). A production site waits longer."""

    #: Between SIGTERM and SIGKILL when a job ends (Slurm's default: 30).
    kill_wait_s: int = 5
    #: Until a node that does not answer is down (default: 300).
    node_timeout_s: int = 15
    #: Until a message counts as unanswered. A lost node is asked twice more before it is down.
    message_timeout_s: int = 10
    #: How long a job that is preempted in the partition `on-demand` may clean up (default: 0).
    grace_s: int = 0
    #: Before a job that was requeued may start again (default: 120; less than 5 means 120).
    requeue_s: int = 5

    def __post_init__(self) -> None:
        if self.requeue_s < _LEAST_REQUEUE_S:
            raise PlanRefused(f"Slurm requeues after {_LEAST_REQUEUE_S} s, not {self.requeue_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cluster as it should be."""

    name: str
    nodes: int
    gpus: int
    clocks: Clocks = field(default_factory=Clocks)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PlanRefused(f"a cluster's name is small letters and digits, not {self.name!r}")
        if not 1 <= self.nodes <= MOST_NODES:
            raise PlanRefused(f"a cluster has 1 to {MOST_NODES} nodes, not {self.nodes}")
        if self.gpus < 0:
            raise PlanRefused(f"a node cannot have {self.gpus} GPUs")

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes, in order."""
        return tuple(f"{self.name}-n{number}" for number in range(1, self.nodes + 1))
