"""`amd-smi`: AMD's GPUs, as JSON whose frame differs between versions."""

from __future__ import annotations

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools.device import Device
from compute_functions.gpu_tools.tool import Tool, percent, printed_json

#: The tools see all GPUs of a node, whatever a job may reach: the scheduler's own numbers come
#: before those that count what the job has.
VARIABLES = (
    *("SLURM_JOB_GPUS", "ROCR_VISIBLE_DEVICES"),
    *("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
)


def read(text: str) -> tuple[Device, ...]:
    """Return the GPUs: a list of them, in later versions in an object's `gpu_data`."""
    said = printed_json("amd-smi", text)
    if isinstance(said, dict):
        said = said.get("gpu_data")
    if not isinstance(said, list):
        raise DriverFailed("amd-smi: its answer lists no GPUs")
    return tuple(_device(one) for one in said)


def _device(said: object) -> Device:
    if not isinstance(said, dict) or not isinstance(said.get("gpu"), int):
        raise DriverFailed("amd-smi: a GPU in its answer has no number")
    usage = said.get("usage")
    busy = usage.get("gfx_activity") if isinstance(usage, dict) else None
    # With its unit, or without.
    return Device(
        index=said["gpu"], percent=percent(busy.get("value") if isinstance(busy, dict) else busy)
    )


TOOL = Tool(
    program="amd-smi",
    arguments=("metric", "--usage", "--json"),
    read=read,
    variables=VARIABLES,
)
