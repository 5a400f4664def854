"""Programs that answer for GPUs as the vendors' own do, from a file that a test changes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: As `nvidia-smi --query-gpu` does: only fields that it knows, in the order of the question.
_NVIDIA = """\
import json, sys
from pathlib import Path

asked, shape = sys.argv[1:]
names = asked.removeprefix("--query-gpu=").split(",")
options = shape.removeprefix("--format=").split(",")
if options[0] != "csv" or not asked.startswith("--query-gpu="):
    sys.exit('ERROR: Option is not recognized. Please run "nvidia-smi -h".')
gpus = json.loads(Path({state!r}).read_text())
if unknown := [name for name in names if any(name not in gpu for gpu in gpus)]:
    print(f'Field "{{unknown[0]}}" is not a valid field to query.')
    sys.exit(2)
units = {{}} if "nounits" in options else {{"utilization.gpu": " %"}}
if "noheader" not in options:
    print(", ".join(names))
for gpu in gpus:
    print(", ".join(f"{{gpu[name]}}{{units.get(name, '')}}" for name in names))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsThatTellGpuUse:
    """A folder for a job's PATH, with whichever of the vendors' programs were put there."""

    folder: Path

    @property
    def path(self) -> str:
        """Return a PATH with them first."""
        return f"{self.folder}:/usr/bin:/bin"

    def nvidia(self, *percents: object) -> None:
        """Have `nvidia-smi` tell of so many GPUs, each as busy as this, from now on."""
        state = self.folder / "gpus.json"
        self.folder.mkdir(exist_ok=True)
        gpus: list[dict[str, Any]] = [
            {"index": index, "uuid": f"GPU-{index}a2b-0000", "utilization.gpu": percent}
            for index, percent in enumerate(percents)
        ]
        # In one step: the job may ask at any moment.
        draft = state.with_suffix(".draft")
        draft.write_text(json.dumps(gpus))
        draft.rename(state)
        self.write("nvidia-smi", f"#!{sys.executable}\n{_NVIDIA.format(state=str(state))}")

    def prints(self, program: str, text: str, *, status: int = 0) -> None:
        """Have a program print this text, whatever it is asked."""
        self.folder.mkdir(exist_ok=True)
        said = self.folder / f"{program}.txt"
        said.write_text(text)
        self.write(program, f"#!/bin/sh\ncat {said}\nexit {status}\n")

    def write(self, program: str, script: str) -> None:
        """Put a program there."""
        file = self.folder / program
        if not file.exists():
            file.write_text(script)
            file.chmod(0o755)
