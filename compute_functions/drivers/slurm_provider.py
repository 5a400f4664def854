"""Parsl's SlurmProvider for one job, used directly: no executor, no worker pool, no polling."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable
from typing import Any

from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider
from typing_extensions import override

from compute_functions.schedulers.commands import Finished

_DIRECTIVE = "#SBATCH "


class DirectProvider(SlurmProvider):
    """The provider, with its commands run by us.

    Its own way runs them through a shell, with our whole environment, and leaves a command that
    hangs behind. When it is made it asks `sacct` for something that only `status` needs, which is
    never called here: on a large site that takes seconds.
    """

    def __init__(self, run: Callable[[list[str]], Finished], **block: Any) -> None:  # noqa: ANN401 # Parsl checks them
        self._run = run
        self.last_complaint = ""
        super().__init__(nodes_per_block=1, launcher=SimpleLauncher(), **block)

    @override
    def execute_wait(self, cmd: str, timeout: int | None = None) -> tuple[int, str, str]:
        """Run a command that Parsl composed."""
        arguments = shlex.split(cmd)
        if arguments[0] == "sacct":
            return 1, "", "not asked"
        finished = self._run(arguments)
        self.last_complaint = finished.complaint
        return finished.status, finished.out, finished.err

    def add_options(self, options: Iterable[str]) -> None:
        """Add options of `sbatch`; of two that contradict each other Slurm takes the later."""
        self.scheduler_options += "".join(f"{_DIRECTIVE}{option}\n" for option in options)

    def options(self) -> list[str]:
        """Return all options of its jobs as arguments of `sbatch`."""
        lines = self.scheduler_options.splitlines()
        given = [
            part
            for line in lines
            if line.startswith(_DIRECTIVE)
            for part in shlex.split(line.removeprefix(_DIRECTIVE), comments=True)
        ]
        own = ["--nodes=1", "--ntasks-per-node=1", f"--time={self.walltime}"]
        if self.mem_per_node is not None:
            own.append(f"--mem={self.mem_per_node}g")
        if self.cores_per_node is not None:
            own.append(f"--cpus-per-task={self.cores_per_node}")
        return own + given

    def end(self, job_ids: Collection[str]) -> bool:
        """Cancel jobs, also those that another process submitted; return whether Slurm took it."""
        for job_id in job_ids:
            # The provider stumbles over a job that it did not submit itself.
            self.resources.setdefault(job_id, {})
        return all(self.cancel(list(job_ids)))  # type: ignore[no-untyped-call] # so it is in Parsl
