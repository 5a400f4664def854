"""`nvidia-smi`: NVIDIA's GPUs, one line each."""

from __future__ import annotations

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools.device import Device
from compute_functions.gpu_tools.tool import Tool, percent

_FIELDS = ("index", "uuid", "utilization.gpu")


def read(text: str) -> tuple[Device, ...]:
    """Return the GPUs. Of one that cannot tell how busy it is the tool says `[N/A]`."""
    return tuple(_device(line) for line in text.splitlines() if line.strip())


def _device(line: str) -> Device:
    values = [value.strip() for value in line.split(",")]
    if len(values) != len(_FIELDS) or not values[0].isdecimal():
        # Troubles of the driver are told on the same stream.
        raise DriverFailed(f"nvidia-smi: {line.strip()[:200]}")
    return Device(index=int(values[0]), uuid=values[1], percent=percent(values[2]))


#: Where a job's other GPUs are out of its reach the tool counts the rest anew, as this variable
#: does.
TOOL = Tool(
    program="nvidia-smi",
    arguments=(f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"),
    read=read,
    variables=("CUDA_VISIBLE_DEVICES",),
)
