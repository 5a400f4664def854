"""What a gateway wants of a site: the desired state of its models, and the demand for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject

#: A site serves no more models than this.
MOST_MODELS = 10_000
#: Bounds of what one model may be told: whoever wants more has made a mistake.
MOST_INSTANCES = 1_000
MOST_GPUS = 1_024
#: The purpose of instances that exist for batches alone: no caller's request comes there.
FOR_BATCHES = "batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel:
    """What is desired of one model at the site.

    Between `min` and `max` instances are kept, each with `gpus` GPUs, in jobs of `walltime_s`
    seconds. After `walltime_ratio` of that at the latest a successor is ordered, unless `refresh`
    is off. Beyond `min`, instances end when nobody has used the model for `idle_timeout_s`; with
    `autoscale` more are started while requests wait. Of two models the one with the higher
    `priority` is served first. Instances that were submitted before `unloaded_at` (seconds since
    the epoch, the gateway's clock; 0 for never) go, and demand before it does not count. What the
    instances are for is their `purpose`: nothing for callers, or `FOR_BATCHES`.
    """

    model: str
    framework: str
    min: int
    max: int
    gpus: int
    walltime_s: float
    walltime_ratio: float
    idle_timeout_s: float
    priority: int = 0
    refresh: bool = True
    autoscale: bool = False
    unloaded_at: float = 0.0
    purpose: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a desired model")
        desired = cls(
            model=fields.text(values, "model"),
            framework=fields.text(values, "framework"),
            min=fields.count(values, "min", most=MOST_INSTANCES),
            max=fields.count(values, "max", most=MOST_INSTANCES),
            gpus=fields.count(values, "gpus", most=MOST_GPUS),
            walltime_s=fields.duration(values, "walltime_s"),
            walltime_ratio=fields.number(values, "walltime_ratio"),
            idle_timeout_s=fields.duration(values, "idle_timeout_s"),
            priority=fields.whole_number(values, "priority"),
            refresh=fields.flag(values, "refresh"),
            autoscale=fields.flag(values, "autoscale"),
            unloaded_at=fields.duration(values, "unloaded_at"),
            purpose=fields.purpose(values),
        )
        if desired.min > desired.max:
            raise ContractError("min is more than max")
        if not 0 < desired.walltime_ratio <= 1:
            raise ContractError("walltime_ratio is not between 0 and 1")
        return desired


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """What is desired of a site. A site takes no version below the last one that it took."""

    generation: int
    revision: int
    models: tuple[DesiredModel, ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        """What orders desired states."""
        return self.generation, self.revision

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "generation": self.generation,
            "revision": self.revision,
            "models": [model.to_wire() for model in self.models if not model.purpose],
            # Apart: a site that was not updated yet would take them for the same models twice.
            "with_purpose": [model.to_wire() for model in self.models if model.purpose],
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values: JsonObject = {"with_purpose": []} | fields.versioned(wire)
        models = [
            *fields.items(values, "models", most=MOST_MODELS),
            *fields.items(values, "with_purpose", most=MOST_MODELS),
        ]
        desired = cls(
            generation=fields.count(values, "generation"),
            revision=fields.count(values, "revision"),
            models=tuple(DesiredModel.from_wire(model) for model in models),
        )
        if len(set(map(_what, desired.models))) < len(desired.models):
            raise ContractError("a model is listed twice")
        return desired


def _what(one: DesiredModel) -> tuple[str, str, str]:
    return one.model, one.framework, one.purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemand:
    """How much one hub's callers want a model; with a `purpose`, who wants it for that.

    `waiting` requests have no instance, `running` have one. `used_s` is for how many seconds nobody
    has used it; None if this hub knows of no use.
    """

    model: str
    framework: str
    waiting: int = 0
    running: int = 0
    used_s: float | None = None
    purpose: str = ""

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a model's demand")
        return cls(
            model=fields.text(values, "model"),
            framework=fields.text(values, "framework"),
            waiting=fields.count(values, "waiting"),
            running=fields.count(values, "running"),
            used_s=fields.optional_number(values, "used_s"),
            purpose=fields.purpose(values),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one hub's callers want of a site. Models that are not listed are wanted by nobody."""

    hub: str
    models: tuple[ModelDemand, ...] = ()

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "hub": self.hub,
            "models": [model.to_wire() for model in self.models],
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        models = fields.items(values, "models", most=MOST_MODELS)
        return cls(
            hub=fields.text(values, "hub"),
            models=tuple(ModelDemand.from_wire(model) for model in models),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What `ensure_site_agent` is given: each part may be missing, as in a mere look."""

    desired: DesiredState | None = None
    demand: Demand | None = None

    def to_wire(self) -> JsonObject:
        """Return the argument of the `ensure_site_agent` stub."""
        return {
            "v": PROTOCOL_VERSION,
            "desired": self.desired.to_wire() if self.desired else None,
            "demand": self.demand.to_wire() if self.demand else None,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        desired, demand = fields.present(values, "desired"), fields.present(values, "demand")
        return cls(
            desired=None if desired is None else DesiredState.from_wire(desired),
            demand=None if demand is None else Demand.from_wire(demand),
        )
