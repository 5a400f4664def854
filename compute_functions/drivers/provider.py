"""The default driver: one job per instance, submitted by Parsl's provider, listed by `squeue`."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias, TypeVar

from parsl.providers.errors import ExecutionProviderException

from compute_functions.child_group import KILL_S
from compute_functions.drivers.driver import Capacity, Job
from compute_functions.drivers.job_comment import JobComment
from compute_functions.drivers.slurm_jobs import SlurmJobs
from compute_functions.drivers.slurm_provider import DirectProvider
from compute_functions.errors import DriverFailed, SubmissionRefused
from compute_functions.orders import Order, slug
from compute_functions.schedulers import commands
from compute_functions.schedulers.commands import Commands, Finished
from compute_functions.schedulers.slurm import ENVIRONMENT, sbatch, sbatch_test_only, times
from compute_functions.schedulers.slurm.squeue import QueuedJob
from compute_functions.site import VARIABLE, SiteDirectory
from compute_functions.site_config import ProviderBlock, SiteConfig

_T = TypeVar("_T")
#: Runs a command, from a thread.
_Run: TypeAlias = Callable[[list[str]], Finished]
#: A job's name is for the person who reads `squeue`.
_LONGEST_JOB_NAME = 63
#: Between the end of a command and that of the thread that waits for it (seconds).
_MARGIN_S = 1.0


class ProviderDriver:
    """An `InstanceDriver` for Slurm.

    Parsl's calls block, so they run in a thread, one at a time. Each command takes at most the
    site's `cmd_timeout`, and a call waits at most as long again for those before it.
    """

    def __init__(
        self,
        site: SiteDirectory,
        config: SiteConfig,
        *,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = SiteDirectory(site.root.absolute())
        self._config = config
        self._clock = clock
        self._commands = Commands(
            commands.environment(environment, inherit=config.job.inherit, more=ENVIRONMENT),
            timeout_s=config.provider.cmd_timeout,
        )
        self._slurm = SlurmJobs(
            self._commands, config.provider.clusters, folder=self._site.root, clock=clock
        )
        self._one_at_a_time = asyncio.Lock()

    async def submit(self, order: Order, *, exclude: Collection[str] = ()) -> str:
        """Submit an instance's job, on none of these nodes, and return the job's id."""

        def submit(run: _Run) -> str:
            provider = self._provider(order, run, exclude)
            with tempfile.TemporaryDirectory(prefix="hotnode-submit-") as folder:
                provider.script_dir = folder
                try:
                    return str(provider.submit(self._command(order), 1, job_name="hotnode"))
                except ExecutionProviderException as error:
                    complaint = provider.last_complaint
                    refused = sbatch.refuses(complaint)
                    kind = SubmissionRefused if refused else DriverFailed
                    raise kind(commands.complaint("sbatch", complaint or str(error))) from error

        return await self._in_a_thread(submit)

    async def jobs(self) -> tuple[Job, ...]:
        """Return all jobs of ours that have not ended; foreign ones are passed over."""
        return await self._slurm.ours()

    async def listed(self) -> list[QueuedJob]:
        """Return all jobs of our account, whosever they are."""
        return await self._slurm.listed()

    async def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs; those that have ended are no error."""
        wanted = sorted(set(job_ids))
        if not wanted:
            return

        def cancel(run: _Run) -> str:
            provider = DirectProvider(run, **self._config.provider.parsl_arguments())
            return "" if provider.end(wanted) else provider.last_complaint

        complaint = await self._in_a_thread(cancel)
        if complaint and await self._any_lives(wanted):
            raise DriverFailed(commands.complaint("scancel", complaint))

    async def starts_in(self, order: Order) -> float | None:
        """Return in how many seconds such a job would start; None if nobody can say.

        A job that Slurm would refuse raises `DriverFailed` with its reason.
        """
        options = self._provider(order, _run_nothing, ()).options()
        finished = await self._commands.finish(*sbatch_test_only.arguments(options))
        if finished.status != 0:
            raise DriverFailed(commands.complaint("sbatch --test-only", finished.complaint))
        start = sbatch_test_only.read(finished.err + finished.out)
        return None if start is None else max(0.0, start - self._clock())

    async def capacity(self) -> Capacity:
        """Return what there is in the site's partitions."""
        return await self._slurm.capacity(self._config.partitions)

    async def _any_lives(self, job_ids: Collection[str]) -> bool:
        ending = "COMPLETING"
        listed = await self._slurm.listed()
        return any(job.job_id in job_ids and job.state != ending for job in listed)

    def _provider(self, order: Order, run: _Run, exclude: Collection[str]) -> DirectProvider:
        block = self._config.block(hot=order.hot)
        provider = DirectProvider(
            run, walltime=times.walltime(order.walltime_s), **block.parsl_arguments()
        )
        provider.add_options(self._options(order, block, exclude))
        return provider

    def _options(self, order: Order, block: ProviderBlock, exclude: Collection[str]) -> list[str]:
        """Return what an instance's job has of its own; it comes last, and so it counts."""
        output = self._site.logs / f"{order.instance}.job.log"
        options = [
            f"--job-name=hotnode-{slug(order.model)}"[: len("--job-name=") + _LONGEST_JOB_NAME],
            f"--comment={JobComment.of(order)}",
            f"--output={output}",
            f"--error={output}",
            f"--chdir={self._site.root}",
            "--no-requeue",
        ]
        if gpus := block.gpu_option(order.gpus):
            options.append(gpus)
        if exclude:
            options.append(f"--exclude={','.join(sorted(exclude))}")
        return options

    def _command(self, order: Order) -> str:
        """Return the last lines of the job's script; it becomes our program, signals and all."""
        variables = {**self._config.job.environment, VARIABLE: str(self._site.root)}
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        program = shlex.join(
            [
                *(str(self._config.job.python), "-P", "-m", "compute_functions.instance_job"),
                *("--site-dir", str(self._site.root), "--instance", order.instance),
            ]
        )
        return "\n".join([*exports, f"exec {program}"])

    async def _in_a_thread(self, work: Callable[[_Run], _T]) -> _T:
        """Run what blocks; its commands run here."""
        loop = asyncio.get_running_loop()
        limit_s = self._commands.timeout_s + KILL_S + _MARGIN_S

        def run(arguments: list[str]) -> Finished:
            command = self._commands.finish(*arguments)
            return asyncio.run_coroutine_threadsafe(command, loop).result(limit_s)

        try:
            async with asyncio.timeout(2 * limit_s), self._one_at_a_time:
                return await asyncio.to_thread(work, run)
        except TimeoutError as error:
            raise DriverFailed(f"no answer of the scheduler in {2 * limit_s:g} s") from error


def _run_nothing(arguments: list[str]) -> Finished:
    raise DriverFailed(f"{arguments[0]} is not for here")
