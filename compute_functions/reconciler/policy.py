"""The numbers by which a site lets its models live; they win over what is desired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: More would leave the numbers that a float can hold.
_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A site's bounds and patience (seconds unless named otherwise).

    - `gpus` and `jobs`: the most that all instances may hold or wait for; None for no bound.
    - `instance_gpus`, `walltime_s`: the most that one instance may ask for; None for no bound.
    - `surge`: how many instances above a model's `max`, and how many rollovers at once.
    - `heartbeat_s`, `slack_s`: an instance has missed a heartbeat when it is silent for the sum.
    - `blind_s`: so long all instances may be silent together before they count as lost: until then
      it is rather the shared disk.
    - `suspect_s`: so long after its last failure a node gets no replacement.
    - `register_s`: a job that runs must have registered. `start_s`: it must be ready; `starts_s`
      has other values for some models.
    - `drain_s`: the longest time that requests under way are given. `settle_s`: how long one that
      has none left may take to end by itself.
    - `pause_s`, `longest_pause_s`: the pause after a second failed start in a row; it doubles with
      each. An instance that dies within `proof_s` of being ready has failed to start.
    - `load_s`: what a cold start takes where nobody knows.
    - `scale_up_s`: requests that wait so long bring another instance.
    - `grace_s`: so long an instance that somebody asked for is kept, even if he has gone.
    - `yield_s`: a model must be idle for so long before it yields its place to another.
    - `short_s`: so long a lack of room must last before anybody yields.
    - `stuck_s`: a job that waits so long lacks room, whatever the sums say: free GPUs may lie on
      too many nodes.
    - `last_s`: an instance with less time left does not count for the future; no less than the time
      before the end at which instances drain by themselves.
    """

    gpus: int | None = None
    jobs: int | None = None
    instance_gpus: int | None = None
    walltime_s: float | None = None
    surge: int = 1
    heartbeat_s: float = 2.0
    slack_s: float = 2.0
    blind_s: float = 30.0
    suspect_s: float = 120.0
    register_s: float = 120.0
    start_s: float = 1800.0
    starts_s: Mapping[str, float] = field(default_factory=dict)
    drain_s: float = 600.0
    settle_s: float = 15.0
    pause_s: float = 10.0
    longest_pause_s: float = 900.0
    proof_s: float = 60.0
    load_s: float = 120.0
    scale_up_s: float = 10.0
    grace_s: float = 300.0
    yield_s: float = 10.0
    short_s: float = 1.0
    stuck_s: float = 60.0
    last_s: float = 60.0

    def start_within_s(self, model: str) -> float:
        """Return how long after its job began an instance must be ready."""
        return self.starts_s.get(model, self.start_s)

    def pause_after(self, failures: int) -> float:
        """Return for how long nothing is started after so many failures in a row."""
        doublings = min(failures - 2, _MOST_DOUBLINGS)
        return 0.0 if doublings < 0 else min(self.pause_s * 2**doublings, self.longest_pause_s)
