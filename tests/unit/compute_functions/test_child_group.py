"""A child process that is given up: nothing of it is left, and nobody waits for it for ever."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path

import pytest

from compute_functions import processes
from compute_functions.child_group import ended_if_given_up, started
from tests.support.eventually import eventually
from tests.support.hanging_program import HangingProgram, hanging_program

#: No limit of the code's own: only for a test that would hang (seconds).
PATIENCE_S = 20.0


async def begun(program: HangingProgram) -> Process:
    process = await asyncio.create_subprocess_exec(
        str(program.file), stdout=PIPE, start_new_session=True
    )
    await eventually(lambda: program.hangs)
    return process


@pytest.mark.parametrize("script", ["CHILD; wait", "CHILD"], ids=["waits", "has ended"])
@pytest.mark.parametrize("why", [LookupError, asyncio.CancelledError])
async def test_what_is_given_up_leaves_nothing(
    tmp_path: Path, script: str, why: type[BaseException]
) -> None:
    with hanging_program(tmp_path / "program", script=script) as program:
        process = await begun(program)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(why):
                async with ended_if_given_up(process):
                    raise why
        assert process.returncode is not None
        await eventually(lambda: program.is_gone)


async def test_what_is_waited_for_leaves_what_it_likes(tmp_path: Path) -> None:
    with hanging_program(tmp_path / "program", script="exec >&-; CHILD") as program:
        process = await begun(program)
        async with ended_if_given_up(process), asyncio.timeout(PATIENCE_S):
            await process.communicate()
        assert processes.started(program.child) is not None


async def test_what_cannot_be_ended_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # In a session of its own it is not reached, and holds the pipe.
    with hanging_program(tmp_path / "program", script="exec setsid sh -c 'CHILD'") as program:
        process = await begun(program)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(LookupError):
                async with ended_if_given_up(process, kill_s=0.05):
                    raise LookupError
        assert f"process_not_ended pid={process.pid}" in caplog.text
        os.kill(program.child, signal.SIGKILL)
        await process.communicate()


@pytest.mark.parametrize("turns", range(1, 6))
async def test_who_is_cancelled_as_a_process_starts_leaves_none(tmp_path: Path, turns: int) -> None:
    with hanging_program(tmp_path / "program") as program:
        start = asyncio.create_subprocess_exec(
            str(program.file), stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        starting = asyncio.create_task(started(start))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting}, timeout=PATIENCE_S)
        assert starting.cancelled()
        # It may not have come to note its child.
        await eventually(lambda: not running(program))


def running(program: HangingProgram) -> list[Path]:
    """Return the processes that run it, by their command lines."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if str(program.file).encode() in line.read_bytes():
                found.append(line.parent)
    return found
