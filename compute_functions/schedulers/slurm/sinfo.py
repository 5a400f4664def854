"""`sinfo`: the nodes of partitions, their state and their GPUs."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_FORMAT = "NodeList:|,StateLong:|,Gres:|,GresUsed:|"
_FIELDS = 4
_GPUS = re.compile(r"(?:^|,)gpu(?::[^,:()]+)?:(\d+)")
#: Signs after a state: not responding, powered down or up, planned, to be rebooted, …
_SIGNS = "*~#!%$@^-+"
_NOT_RESPONDING = "*"
#: Nothing runs there.
_DOWN = frozenset(
    {
        "down",
        "drained",
        "error",
        "failed",
        "unknown",
        "inval",
        "future",
        "power_down",
        "powered_down",
    }
)
#: Where a new job may start, as far as there is room.
_OPEN = frozenset(
    {"idle", "mixed", "allocated", "completing", "planned", "power_up", "powering_up"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node: its GPUs in all and in use, whether it is dead, and whether it takes new jobs."""

    name: str
    gpus: int
    used_gpus: int
    down: bool
    takes_jobs: bool

    @property
    def free_gpus(self) -> int:
        """GPUs that a new job could have at once."""
        return self.gpus - self.used_gpus if self.takes_jobs else 0


def arguments(partitions: Collection[str], clusters: str | None = None) -> list[str]:
    """Return the command that lists nodes: of these partitions, or of all if none is named."""
    return [
        *("sinfo", "--noheader", "--Node", f"--Format={_FORMAT}"),
        *([f"--partition={','.join(sorted(partitions))}"] if partitions else []),
        *([f"--clusters={clusters}"] if clusters else []),
    ]


def read(text: str) -> list[Node]:
    """Return each node once, though it may be in several partitions."""
    nodes: dict[str, Node] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) > _FIELDS - 1:
            name, state, gres, used = (field.strip() for field in fields[:_FIELDS])
            nodes.setdefault(name, _node(name, state, gpus=_gpus(gres), used_gpus=_gpus(used)))
    return list(nodes.values())


def _node(name: str, state: str, *, gpus: int, used_gpus: int) -> Node:
    base = state.rstrip(_SIGNS)
    silent = _NOT_RESPONDING in state[len(base) :]
    return Node(
        name=name,
        gpus=gpus,
        used_gpus=used_gpus,
        down=silent or base in _DOWN,
        takes_jobs=not silent and base in _OPEN,
    )


def _gpus(gres: str) -> int:
    """Return the GPUs of all types in `gpu:a100:4(S:0-1),gpu:h100:2,shard:8`."""
    return sum(int(number) for number in _GPUS.findall(re.sub(r"\([^()]*\)", "", gres)))
