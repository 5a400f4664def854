"""`rocm-smi`: AMD's GPUs where there is no `amd-smi`, as JSON with one object for each card."""

from __future__ import annotations

import re

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools import amd_smi
from compute_functions.gpu_tools.device import Device
from compute_functions.gpu_tools.tool import Tool, percent, printed_json

_CARD = re.compile(r"card(\d{1,4})")
_BUSY = "GPU use (%)"


def read(text: str) -> tuple[Device, ...]:
    """Return the GPUs; beside them the answer may have an object about the whole system."""
    said = printed_json("rocm-smi", text)
    if not isinstance(said, dict):
        raise DriverFailed("rocm-smi: its answer lists no GPUs")
    return tuple(
        Device(index=int(card[1]), percent=percent(values.get(_BUSY)))
        for name, values in said.items()
        if (card := _CARD.fullmatch(name)) and isinstance(values, dict)
    )


TOOL = Tool(
    program="rocm-smi",
    arguments=("--showuse", "--json"),
    read=read,
    variables=amd_smi.VARIABLES,
)
