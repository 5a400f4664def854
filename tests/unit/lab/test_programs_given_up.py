"""Programs that the lab waits for no longer: they end, and hold nobody up meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import login
from lab.slurm.client import Access, Client
from tests.support.eventually import eventually
from tests.support.hanging_program import HangingProgram, hanging_program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[HangingProgram]:
    with hanging_program(tmp_path / "bin" / "squeue") as program:
        yield program


async def test_a_command_of_slurm_that_hangs(program: HangingProgram, tmp_path: Path) -> None:
    folder = program.file.parent
    client = Client(Access(configuration=folder / "none", programs=folder, home=tmp_path))
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await client.run("squeue", within_s=0.5)
    await eventually(lambda: program.is_gone)


async def test_a_login_helper_that_hangs(
    program: HangingProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(program.file))
    logging_in = asyncio.create_task(login.access_token({"PATH": "/usr/bin:/bin"}))
    await eventually(lambda: program.hangs)
    logging_in.cancel()
    await asyncio.wait({logging_in}, timeout=20)
    assert logging_in.cancelled()
    await eventually(lambda: program.is_gone)
