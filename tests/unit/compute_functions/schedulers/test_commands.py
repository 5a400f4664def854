"""Commands of a scheduler end in time, and see no more of us than they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.errors import DriverFailed
from compute_functions.schedulers import commands
from compute_functions.schedulers.commands import Commands
from tests.support.eventually import eventually
from tests.support.hanging_program import hanging_program


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has programs of the test first."""
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def write(environment: dict[str, str], name: str, script: str) -> None:
    file = Path(environment["PATH"].partition(":")[0]) / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


async def test_a_command_s_output(programs: dict[str, str]) -> None:
    write(programs, "squeue", 'echo "$@"')

    assert await Commands(programs, timeout_s=10).output("squeue", "a b", "$c") == "a b $c\n"


async def test_a_failing_command_is_quoted(programs: dict[str, str]) -> None:
    write(programs, "squeue", "echo down >&2; exit 3")

    with pytest.raises(DriverFailed, match="squeue: down"):
        await Commands(programs, timeout_s=10).output("squeue")


async def test_a_command_that_says_its_own_name_is_not_named_twice(
    programs: dict[str, str],
) -> None:
    write(programs, "squeue", "echo 'squeue: error: down' >&2; exit 3")

    with pytest.raises(DriverFailed, match=r"^squeue: error: down$"):
        await Commands(programs, timeout_s=10).output("squeue")


async def test_a_missing_command_is_a_failure(programs: dict[str, str]) -> None:
    with pytest.raises(DriverFailed, match="no-such-command cannot be run"):
        await Commands(programs, timeout_s=10).output("no-such-command")


@pytest.mark.parametrize("script", ["wait", "exit"])
async def test_a_command_that_hangs_is_killed_with_its_children(
    programs: dict[str, str], tmp_path: Path, script: str
) -> None:
    # The child keeps the pipe open, as what a wrapper script started would.
    with hanging_program(tmp_path / "hangs" / "squeue", script=f"CHILD; {script}") as program:
        programs["PATH"] = f"{program.file.parent}:{programs['PATH']}"
        with pytest.raises(DriverFailed, match=r"squeue did not answer in 1 s"):
            await Commands(programs, timeout_s=1.0).output("squeue")
        await eventually(lambda: program.is_gone)


def test_secrets_and_options_stay_behind() -> None:
    ours = {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "LMOD_DIR": "/lmod",
        "GLOBUS_COMPUTE_CLIENT_SECRET": "s",
        "SQUEUE_FORMAT": "%i",
        "SBATCH_PARTITION": "debug",
        "OURS": "1",
    }

    seen = commands.environment(ours, inherit=("OURS",), more={"LC_ALL": "C"})

    assert seen == {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "LMOD_DIR": "/lmod",
        "OURS": "1",
        "LC_ALL": "C",
    }
