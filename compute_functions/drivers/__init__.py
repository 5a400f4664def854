"""How instances become jobs: the port `InstanceDriver`, and the drivers behind it."""

from compute_functions.drivers.driver import (
    Capacity,
    InstanceDriver,
    Job,
    JobState,
)

__all__ = ["Capacity", "InstanceDriver", "Job", "JobState"]
