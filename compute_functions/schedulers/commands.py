"""Runs one command of a scheduler at a time limit, in an environment of its own."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass

from compute_functions.child_group import ended_if_given_up, started
from compute_functions.errors import DriverFailed

#: Of what a command says in anger so much is passed on (characters).
_MOST_SAID = 500
#: What commands, and the jobs they submit, get of our environment. Not the rest: a scheduler hands
#: it on to the job, and ours holds secrets; and variables of `squeue` or `sbatch` would change what
#: our options mean.
_INHERITED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "BASH_ENV"),
        *("LD_LIBRARY_PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"),
        *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    }
)
#: Environment modules, so that a job's script can load some.
_INHERITED_PREFIXES = ("MODULE", "LMOD_", "LOADEDMODULES", "BASH_FUNC_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said went wrong, in one line."""
        said = " ".join((self.err.strip() or self.out.strip()).split())
        return said[:_MOST_SAID] or f"exit status {self.status}"


def complaint(command: str, said: str) -> str:
    """Return what a command complains of, after its name; most say that themselves."""
    program = command.partition(" ")[0]
    return f"{command}: {said.removeprefix(f'{program}: ')}"


class Commands:
    """Runs commands. None takes longer than `timeout_s`; one that would is killed."""

    def __init__(self, environment: Mapping[str, str], *, timeout_s: float) -> None:
        self._environment = dict(environment)
        self._timeout_s = timeout_s

    @property
    def timeout_s(self) -> float:
        """How long a command may take."""
        return self._timeout_s

    async def output(self, *arguments: str) -> str:
        """Return what a command prints; raise `DriverFailed` if it fails."""
        finished = await self.finish(*arguments)
        if finished.status != 0:
            raise DriverFailed(complaint(arguments[0], finished.complaint))
        return finished.out

    async def finish(self, *arguments: str) -> Finished:
        """Run a command to its end, whatever its exit status."""
        process = await self._start(arguments)
        try:
            async with ended_if_given_up(process), asyncio.timeout(self._timeout_s):
                out, err = await process.communicate()
        except TimeoutError as error:
            raise DriverFailed(f"{arguments[0]} did not answer in {self._timeout_s:g} s") from error
        return Finished(
            status=process.returncode or 0,
            out=out.decode(errors="replace"),
            err=err.decode(errors="replace"),
        )

    async def _start(self, arguments: tuple[str, ...]) -> Process:
        try:
            return await started(
                asyncio.create_subprocess_exec(
                    *arguments,
                    env=self._environment,
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=PIPE,
                    # A group of its own: a wrapper script is killed with what it started.
                    start_new_session=True,
                )
            )
        except OSError as error:
            raise DriverFailed(f"{arguments[0]} cannot be run: {error.strerror}") from error


def environment(
    ours: Mapping[str, str], *, inherit: tuple[str, ...] = (), more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return what commands may see of our environment, and `more`."""
    passed = {
        name: value
        for name, value in ours.items()
        if name in _INHERITED or name in inherit or name.startswith(_INHERITED_PREFIXES)
    }
    return passed | dict(more or {})
