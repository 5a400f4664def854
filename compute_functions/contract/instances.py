"""What runs at a site: its model instances and where each stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject


class InstanceState(StrEnum):
    """Where one model instance stands at the site (architecture, section 5)."""

    QUEUED = "queued"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One model instance as the site sees it; the same fields for a process and for a Slurm job."""

    model: str
    framework: str
    state: InstanceState
    job_id: str
    host: str
    started_at: float
    detail: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self) | {"state": self.state.value}

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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """What runs at a site, at `observed_at` (seconds since the epoch, the site's clock)."""

    observed_at: float
    instances: tuple[Instance, ...] = ()

    def to_wire(self) -> JsonObject:
        """Return the result of the `site_status` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "status",
            "observed_at": self.observed_at,
            "instances": [instance.to_wire() for instance in self.instances],
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        instances = values.get("instances")
        if not isinstance(instances, list):
            raise ContractError("instances is not a list")
        return cls(
            observed_at=fields.number(values, "observed_at"),
            instances=tuple(Instance.from_wire(item) for item in instances),
        )
