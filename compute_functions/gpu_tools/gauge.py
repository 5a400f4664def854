"""How busy a job's own GPUs are: asked of the vendor's tool that the node has."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools import amd_smi, nvidia_smi, rocm_smi
from compute_functions.gpu_tools.device import mean_percent, ours
from compute_functions.gpu_tools.tool import Tool
from compute_functions.schedulers import commands
from compute_functions.schedulers.commands import Commands

_TOOLS = (nvidia_smi.TOOL, amd_smi.TOOL, rocm_smi.TOOL)
#: A driver that must wake up takes a few seconds.
ANSWER_S = 15.0


class GpuGauge:
    """Asks about the `ordered` GPUs of the job with this environment."""

    def __init__(self, environment: Mapping[str, str], *, ordered: int) -> None:
        self._environment = dict(environment)
        self._ordered = ordered
        self._commands = Commands(commands.environment(environment), timeout_s=ANSWER_S)
        path = environment.get("PATH", "")
        has_any = ordered > 0
        self._tools = [one for one in _TOOLS if has_any and shutil.which(one.program, path=path)]

    @property
    def is_there(self) -> bool:
        """Whether there is anything to ask, and anybody."""
        return bool(self._tools)

    async def percent(self) -> float | None:
        """Return how busy the job's GPUs are, as a mean; None where nobody knows.

        Raises `DriverFailed` if no tool answers.
        """
        for tool in tuple(self._tools):
            try:
                text = await self._commands.output(tool.program, *tool.arguments)
                devices = tool.read(text)
            except DriverFailed:
                if tool is self._tools[-1]:
                    raise
                continue
            if devices:
                # A node may have another vendor's tool, and none of its GPUs.
                self._tools = [tool]
                return mean_percent(ours(devices, self._names(tool), ordered=self._ordered))
        return None

    def _names(self, tool: Tool) -> str | None:
        set_ = (self._environment.get(name) for name in tool.variables)
        return next((one for one in set_ if one is not None), None)
