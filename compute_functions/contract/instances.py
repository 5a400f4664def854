"""What runs at a site: its model instances and where each stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject

#: A site tells of no more instances or models than this.
MOST_ITEMS = 100_000


class InstanceState(StrEnum):
    """Where one model instance stands at the site, in this order; `FAILED` may follow on any."""

    QUEUED = "queued"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Stage(StrEnum):
    """How far an instance that starts has come."""

    NODE = "node"
    WEIGHTS = "weights"
    ENGINE = "engine"
    WARMUP = "warmup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One model instance as the site sees it; the same fields for a process and for a Slurm job.

    Times are seconds since the epoch by the site's clock, and None where nobody knows. `ready_at`
    is when it became ready or probably will, `ends_at` when its walltime is over. `detail` is for
    everybody who may see the model; `reason` is why the scheduler lets it wait; `ahead` is how many
    jobs are before it in the queue. `running` and `waiting` are the engine's requests;
    `gpu_percent` is how busy its GPUs were a few seconds ago, as a mean. One with a `purpose` is
    for that alone, and no caller's request may be sent there.
    """

    model: str
    framework: str
    state: InstanceState
    job_id: str
    host: str
    started_at: float
    detail: str = ""
    name: str = ""
    stage: Stage | None = None
    gpus: int = 0
    walltime_s: float | None = None
    submitted_at: float | None = None
    ready_at: float | None = None
    ends_at: float | None = None
    reason: str = ""
    ahead: int | None = None
    running: float | None = None
    waiting: float | None = None
    gpu_percent: float | None = None
    purpose: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self) | {
            "state": self.state.value,
            "stage": self.stage.value if self.stage else None,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        if not isinstance(wire, dict):
            raise ContractError("an instance is not an object")
        try:
            state = InstanceState(fields.text(wire, "state"))
        except ValueError:
            # Not as a cause: its text repeats the value uncut.
            unknown = fields.quoted(wire.get("state"))
            raise ContractError(f"unknown instance state {unknown}") from None
        return cls(
            model=fields.text(wire, "model"),
            framework=fields.text(wire, "framework"),
            state=state,
            job_id=fields.text(wire, "job_id"),
            host=fields.text(wire, "host"),
            started_at=fields.number(wire, "started_at"),
            detail=fields.text(wire, "detail"),
            name=fields.text(wire, "name"),
            stage=_stage(fields.present(wire, "stage")),
            gpus=fields.count(wire, "gpus"),
            walltime_s=fields.optional_number(wire, "walltime_s"),
            submitted_at=fields.optional_number(wire, "submitted_at"),
            ready_at=fields.optional_number(wire, "ready_at"),
            ends_at=fields.optional_number(wire, "ends_at"),
            reason=fields.text(wire, "reason"),
            ahead=fields.optional_count(wire, "ahead"),
            running=fields.optional_number(wire, "running"),
            waiting=fields.optional_number(wire, "waiting"),
            # Sites that were not updated yet do not say it.
            gpu_percent=fields.optional_number({"gpu_percent": None} | wire, "gpu_percent"),
            purpose=fields.purpose(wire),
        )


def _stage(value: object) -> Stage | None:
    if value is None:
        return None
    try:
        return Stage(value if isinstance(value, str) else "")
    except ValueError:
        raise ContractError(f"unknown stage {fields.quoted(value)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutlook:
    """What a site says of a desired model.

    A cold start takes about `queue_s` in the scheduler's queue and `load_s` on its node (seconds;
    None where nobody knows yet). `refused` is why the site does not run it; nothing if it does.
    `waits` is why it has fewer instances than it should and none is being started for now, as for
    want of room or after failed starts; nothing if it need not wait. With a `purpose` it is about
    the instances for that alone.
    """

    model: str
    framework: str
    queue_s: float | None = None
    load_s: float | None = None
    refused: str = ""
    waits: str = ""
    purpose: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a model's outlook")
        return cls(
            model=fields.text(values, "model"),
            framework=fields.text(values, "framework"),
            queue_s=fields.optional_number(values, "queue_s"),
            load_s=fields.optional_number(values, "load_s"),
            refused=fields.text(values, "refused"),
            waits=fields.text(values, "waits"),
            purpose=fields.purpose(values),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """What a site's agent says of itself.

    `generation` and `revision` are those of the desired state that it works by, 0 for none. `fence`
    is the number of its lease. `trouble` is what keeps it from its work; nothing if nothing does.
    """

    host: str
    pid: int
    fence: int
    started_at: float
    version: str
    generation: int = 0
    revision: int = 0
    trouble: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "an agent's report")
        return cls(
            host=fields.text(values, "host"),
            pid=fields.count(values, "pid"),
            fence=fields.count(values, "fence"),
            started_at=fields.number(values, "started_at"),
            version=fields.text(values, "version"),
            generation=fields.count(values, "generation"),
            revision=fields.count(values, "revision"),
            trouble=fields.text(values, "trouble"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """What runs at a site, at `observed_at` (seconds since the epoch, the site's clock).

    A site without an agent says nothing of outlooks, and reports no agent.
    """

    observed_at: float
    instances: tuple[Instance, ...] = ()
    outlooks: tuple[ModelOutlook, ...] = ()
    agent: AgentReport | None = None

    def to_wire(self) -> JsonObject:
        """Return the result of the `site_status` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "status",
            "observed_at": self.observed_at,
            "instances": [instance.to_wire() for instance in self.instances],
            "outlooks": [outlook.to_wire() for outlook in self.outlooks],
            "agent": self.agent.to_wire() if self.agent else None,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        instances = fields.items(values, "instances", most=MOST_ITEMS)
        outlooks = fields.items(values, "outlooks", most=MOST_ITEMS)
        agent = fields.present(values, "agent")
        return cls(
            observed_at=fields.number(values, "observed_at"),
            instances=tuple(Instance.from_wire(item) for item in instances),
            outlooks=tuple(ModelOutlook.from_wire(item) for item in outlooks),
            agent=None if agent is None else AgentReport.from_wire(agent),
        )
