"""`sbatch`: whether its complaint means that there is no job.

It ends with the same status whether the controller said no or was never heard, so that its words
are all there is. They are Slurm's own texts of its errors, which are in no other language and have
stayed the same for many years. Whatever is not among them may have left a job behind.
"""

from __future__ import annotations

_FAILED = "Batch job submission failed: "
#: What the controller says of a job that it does not take. Not here: what the way to it says.
_REFUSALS = (
    "Access/permission denied",
    "Access denied to requested reservation",
    "Burst Buffer permission denied",
    "CPU count specification invalid",
    "Duplicate generic resource (gres) specification",
    "Invalid GRES specification",
    "Invalid Trackable RESource (TRES) specification",
    "Invalid account or account/partition combination specified",
    "Invalid feature specification",
    "Invalid generic resource (gres) specification",
    "Invalid job array specification",
    "Invalid license specification",
    "Invalid node name specified",
    "Invalid partition name specified",
    "Invalid qos specification",
    "Invalid time-min specification",
    "Invalid wckey specification",
    "Job size specification needs to be provided",
    "Job violates accounting/QOS policy",
    "Memory required by task is not available",
    "More processors requested than permitted",
    "Multiple partition job request not supported",
    "No partition specified or system default partition",
    "Node count specification invalid",
    "Requested GRES option unsupported",
    "Requested account has breached requested QOS usage threshold",
    "Requested node configuration is not available",
    "Requested nodes not in this partition",
    "Requested operation is presently disabled",
    "Requested partition configuration not available now",
    "Requested reservation is invalid",
    "Requested reservation not usable now",
    "Requested time limit is invalid",
    "Required node not available",
    "Required partition not available",
    "Task count specification invalid",
    "User's group not permitted to use this partition",
)


def refuses(complaint: str) -> bool:
    """Tell whether the controller said no: then no job exists."""
    _, failed, why = complaint.partition(_FAILED)
    return bool(failed) and why.startswith(_REFUSALS)
