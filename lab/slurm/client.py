"""Slurm's commands as anybody on the login node runs them, with a time limit on each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compute_functions.child_group import ended_if_given_up, started

_WITHIN_S = 30.0
_POLL_S = 0.05
#: Of a job that we may be running in ourselves.
_FOREIGN = ("SLURM", "SBATCH", "SQUEUE", "SALLOC", "SINFO", "SCANCEL", "SRUN")
#: A job in one of these states holds nothing any more.
ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
    }
)
_JOB = "%i|%T|%N|%r|%P|%j|%k"


class CommandFailed(RuntimeError):
    """A command of Slurm ended with an error."""

    def __init__(self, arguments: tuple[str, ...], status: int, errors: str) -> None:
        self.arguments = arguments
        self.status = status
        self.errors = errors
        super().__init__(f"{' '.join(arguments)} ended with {status}: {errors.strip()}")


class WaitedInVain(TimeoutError):
    """What was waited for did not happen in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as `squeue` shows it, also for some minutes after its end."""

    id: int
    #: In Slurm's words: PENDING, RUNNING, COMPLETED, TIMEOUT …
    state: str
    #: The nodes it runs on, in Slurm's short form; empty before it starts.
    nodes: str
    reason: str
    partition: str
    name: str
    comment: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line of `squeue`."""
        number, state, nodes, reason, partition, name, comment = line.split("|", 6)
        return cls(
            id=int(number),
            state=state,
            nodes=nodes,
            reason=reason,
            partition=partition,
            name=name,
            comment="" if comment == "(null)" else comment,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a cluster's configuration is, Slurm's commands, and a folder to work in."""

    configuration: Path
    programs: Path
    home: Path


class Client:
    """A person who is logged in to one cluster."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @property
    def home(self) -> Path:
        """Where jobs start, and leave their output (`slurm-ID.out`)."""
        return self._access.home

    def environment(self) -> dict[str, str]:
        """Return the variables by which Slurm's commands find this cluster."""
        return {"SLURM_CONF": str(self._access.configuration)}

    async def run(
        self, program: str, *arguments: str, stdin: str = "", within_s: float = _WITHIN_S
    ) -> str:
        """Run a command of Slurm and return what it says; raises `CommandFailed`."""
        process = await started(
            asyncio.create_subprocess_exec(
                str(self._access.programs / program),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_clean(os.environ) | self.environment(),
                cwd=self._access.home,
                start_new_session=True,
            )
        )
        async with ended_if_given_up(process), asyncio.timeout(within_s):
            output, errors = await process.communicate(stdin.encode())
        if process.returncode:
            raise CommandFailed((program, *arguments), process.returncode, errors.decode())
        return output.decode()

    async def submit(self, script: str, *options: str) -> int:
        """Submit a batch job and return its number; without `#!` the script is a shell's."""
        text = script if script.startswith("#!") else f"#!/bin/sh\n{script}\n"
        said = await self.run("sbatch", "--parsable", *options, stdin=text)
        return int(said.partition(";")[0])

    async def job(self, job_id: int) -> Job:
        """Return a job; raises `CommandFailed` for one that Slurm does not know (any more)."""
        (line,) = (await self.run("squeue", *_listing(), f"--jobs={job_id}")).splitlines()
        return Job.parse(line)

    async def jobs(self) -> list[Job]:
        """Return the jobs that are waiting, running or have ended lately."""
        return [Job.parse(line) for line in (await self.run("squeue", *_listing())).splitlines()]

    async def until(self, job_id: int, *states: str, within_s: float = _WITHIN_S) -> Job:
        """Wait until a job is in one of these states.

        Raises `WaitedInVain`, without waiting any longer if the job has ended in another state.
        """
        job = await self.job(job_id)
        try:
            async with asyncio.timeout(within_s):
                while job.state not in states and job.state not in ENDED:
                    await asyncio.sleep(_POLL_S)
                    job = await self.job(job_id)
        except TimeoutError as error:
            raise WaitedInVain(f"not {' or '.join(states)} in {within_s:.0f} s: {job}") from error
        if job.state not in states:
            raise WaitedInVain(f"not {' or '.join(states)}, but ended: {job}")
        return job

    async def cancel(self, job_id: int, *options: str) -> None:
        """Cancel a job."""
        await self.run("scancel", *options, str(job_id))

    async def expire(self, job_id: int, *, in_s: int) -> None:
        """Let a running job reach its walltime in `in_s` seconds.

        Slurm looks at walltimes every 30 seconds: the job gets SIGTERM up to so much later, and
        SIGKILL after `Clocks.kill_wait_s` more. Its state is TIMEOUT then.
        """
        await self.run("scontrol", "update", f"JobId={job_id}", f"EndTime=now+{in_s}")

    async def node_states(self) -> Mapping[str, str]:
        """Return each node's state in Slurm's words, as `idle`, `mixed`, `down*`, `drained`."""
        said = await self.run("sinfo", "--noheader", "--Node", "--format=%N|%T", "--partition=gpu")
        return dict(line.split("|", 1) for line in said.splitlines())

    async def until_nodes(
        self, nodes: Collection[str], *states: str, within_s: float = _WITHIN_S
    ) -> None:
        """Wait until each of the nodes is in one of these states; raises `WaitedInVain`."""
        found = await self.node_states()
        try:
            async with asyncio.timeout(within_s):
                while any(found[node] not in states for node in nodes):
                    await asyncio.sleep(_POLL_S)
                    found = await self.node_states()
        except TimeoutError as error:
            raise WaitedInVain(f"not {' or '.join(states)} in {within_s:.0f} s: {found}") from error

    async def drain(self, node: str, *, reason: str) -> None:
        """Let no further job start on a node; those that run go on."""
        await self._update_node(node, "State=DRAIN", f"Reason={reason}")

    async def resume(self, node: str) -> None:
        """Let jobs start again on a node that was drained or down."""
        await self._update_node(node, "State=RESUME")

    async def _update_node(self, node: str, *changes: str) -> None:
        await self.run("scontrol", "update", f"NodeName={node}", *changes)


def _listing() -> tuple[str, ...]:
    return ("--noheader", "--states=all", f"--format={_JOB}")


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith(_FOREIGN)}
