"""What a site keeps running: started again when it ends, with nothing left of the run before."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from compute_functions import processes
from lab import descent
from lab.processes import Command
from lab.unit import Pauses, Unit, enabled
from tests.support.eventually import eventually

QUICK = Pauses(first_s=0.01, longest_s=0.05, well_s=3600)
#: Has a child that puts itself into the background, as an endpoint's agent has.
SERVICE = "setsid sleep 1000 & exec sleep 1000"

LAB = """
import asyncio, os, sys
from pathlib import Path
from lab import descent
from lab.processes import Command
from lab.unit import enabled

async def main(folder):
    arguments = ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]
    command = Command(
        name="service", arguments=arguments, log=folder / "log", environment=os.environ
    )
    async with enabled(command) as unit:
        while len(unit.processes()) < 2:
            await asyncio.sleep(0.01)
        print(*descent.descendants(os.getpid()), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def service(folder: Path, script: str, *, grace_s: float = 20.0) -> Command:
    return Command(
        name="service",
        arguments=["sh", "-c", script],
        log=folder / "log",
        environment=os.environ,
        directory=folder,
        grace_s=grace_s,
    )


def living(unit: Unit) -> dict[int, int | None]:
    return {pid: processes.started(pid) for pid in unit.processes()}


def alive(pids: dict[int, int | None]) -> list[int]:
    return [pid for pid, start in pids.items() if start and processes.lives(pid, start)]


async def test_a_service_that_is_killed_starts_again_without_its_orphans(tmp_path: Path) -> None:
    async with enabled(service(tmp_path, SERVICE), pauses=QUICK) as unit:
        await eventually(lambda: len(unit.processes()) == 2)
        first = living(unit)
        assert unit.main_pid in first
        os.kill(unit.main_pid, signal.SIGKILL)
        await eventually(lambda: unit.starts == 2 and len(unit.processes()) == 2)
        assert alive(first) == []
        second = living(unit)
    assert alive(second) == []


async def test_a_service_that_fails_at_once_is_tried_again(tmp_path: Path) -> None:
    script = "echo run >> runs; test $(wc -l < runs) -ge 4 || exit 1; exec sleep 1000"
    async with enabled(service(tmp_path, script), pauses=QUICK) as unit:
        await eventually(lambda: (tmp_path / "runs").exists() and unit.starts >= 4)
        await eventually(lambda: (tmp_path / "runs").read_text() == "run\n" * 4)
        assert unit.starts == 4


async def test_a_service_is_asked_to_end_and_may_take_its_time(tmp_path: Path) -> None:
    script = "trap 'sleep 0.2; echo bye > bye; exit' TERM; echo > up; while :; do sleep 0.05; done"
    async with enabled(service(tmp_path, script), pauses=QUICK):
        await eventually((tmp_path / "up").exists)
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_a_service_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; setsid sleep 1000 & echo > up; while :; do sleep 0.05; done"
    async with enabled(service(tmp_path, script, grace_s=1), pauses=QUICK) as unit:
        await eventually((tmp_path / "up").exists)
        there = living(unit)
    assert alive(there) == []


async def test_nothing_is_left_of_a_lab_that_is_killed(tmp_path: Path) -> None:
    lab = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAB, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert lab.stdout is not None
        said = await asyncio.wait_for(lab.stdout.readline(), 60)
        there = {int(pid): processes.started(int(pid)) for pid in said.split()}
        assert len(alive(there)) == 3
        assert descent.descendants(lab.pid) >= set(there)
    finally:
        if lab.returncode is None:
            lab.kill()
        await lab.wait()
    await eventually(lambda: alive(there) == [])


@pytest.mark.parametrize(
    ("pause_s", "ran_s", "expected"),
    [(0.0, 0.1, 1.0), (1.0, 0.1, 2.0), (8.0, 0.1, 10.0), (8.0, 60.0, 1.0)],
)
def test_pauses_grow_until_it_runs_well(pause_s: float, ran_s: float, expected: float) -> None:
    assert Pauses().after(pause_s, ran_s=ran_s) == expected
