"""What the composition is to be: sites by name, their size, how quickly they look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.slurm.plan import Clocks
from lab.slurm_sites.model import KeptModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """One site: its cluster, and what its `site.yaml` says otherwise than the usual.

    The usual is quick, so that a person does not wait: a real site looks less often.
    """

    name: str
    nodes: int = 2
    gpus: int = 2
    limits: Mapping[str, object] = field(default_factory=dict)
    job: Mapping[str, object] = field(default_factory=dict)
    #: Whether its nodes reach the gateway. A site without has neither links nor relays.
    egress: bool = True
    clocks: Clocks = field(default_factory=Clocks)
    #: Globus groups whose members may have batches done there; without any it takes none.
    batches_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All sites, their models, and further settings of the gateway.

    With `workers` from 2 on the gateway is several processes, on PostgreSQL and Redis.
    """

    sites: tuple[SitePlan, ...]
    models: tuple[KeptModel, ...]
    gateway: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
