"""An instance of ours: its job, its order, its registration and what it was told, joined."""

from __future__ import annotations

from dataclasses import dataclass

from compute_functions.contract.instances import InstanceState
from compute_functions.drivers.driver import JobState
from compute_functions.reconciler.model_key import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What an instance says of itself, and how long ago (seconds) it said it.

    `silent_s` is for how long the agent has seen no new heartbeat. `in_flight` counts the requests
    under way, `engine_waiting` those of them that the engine has not begun; None while nobody
    knows. `failed_probes` is how many of the agent's own probes failed in a row, if it probes;
    `detail` is in its own words how it stands.
    """

    state: InstanceState
    silent_s: float = 0.0
    ready_at: float | None = None
    in_flight: int | None = 0
    engine_waiting: int | None = 0
    failed_probes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """What an instance was told: that it drains, since when, and until when at most."""

    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One instance of ours that has a job, or may have one. Times are seconds since the epoch.

    Of an instance whose order is lost model and `purpose` come from the job's comment; `framework`
    is empty, `gpus` None. An order whose submission failed without a clear answer is a pending
    member without `job_id` until the agent is sure. `started_at` is when its job began to run, or
    was first seen to run; `ends_at` when its walltime is over.
    """

    instance: str
    model: str
    state: JobState
    fence: int
    submitted_at: float
    framework: str = ""
    purpose: str = ""
    job_id: str = ""
    generation: int = 0
    gpus: int | None = None
    walltime_s: float | None = None
    started_at: float | None = None
    ends_at: float | None = None
    nodes: tuple[str, ...] = ()
    registered: Registered | None = None
    draining: Draining | None = None

    @property
    def key(self) -> ModelKey:
        """Return the model it serves."""
        return ModelKey(self.model, self.framework, self.purpose)
