"""What runs in the background ends with the lab, also when that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from lab import keeper

#: A lab that runs a keeper and says so.
_LAB = """
import asyncio, os, sys
from pathlib import Path
from lab.processes import Command, running

async def main(folder):
    log = folder / "keeper.log"
    arguments = [sys.executable, "-m", "lab.keeper", str(folder / "daemon.pid")]
    command = Command(name="keeper", arguments=arguments, log=log, environment=os.environ)
    async with running(command) as child:
        await child.until(lambda: "waiting" in log.read_text(), within_s=30)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_the_agent_ends_with_a_lab_that_is_killed(tmp_path: Path) -> None:
    agent = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    lab = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LAB, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        (tmp_path / "daemon.pid").write_text(str(agent.pid))
        assert lab.stdout is not None
        assert await asyncio.wait_for(lab.stdout.readline(), 30) == b"ready\n"
        lab.kill()
        assert await asyncio.wait_for(agent.wait(), 30) == -signal.SIGTERM
    finally:
        for process in (agent, lab):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_an_agent_that_has_gone_is_no_error(tmp_path: Path) -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    keeper.end(tmp_path / "never.pid")
    (tmp_path / "daemon.pid").write_text(str(gone.pid))
    keeper.end(tmp_path / "daemon.pid")


async def test_whoever_has_the_number_of_an_agent_that_is_long_gone_is_left_alone(
    tmp_path: Path,
) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        file = tmp_path / "daemon.pid"
        file.write_text(str(stranger.pid))
        agent_began = file.stat().st_mtime - 3600
        os.utime(file, (agent_began, agent_began))
        keeper.end(file)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stranger.wait(), 0.5)
    finally:
        stranger.kill()
        await stranger.wait()


async def test_the_demo_is_interrupted_in_one_line() -> None:
    """At its very beginning, where loading alone takes a second."""
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "lab", "demo", "--help"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert demo.stderr is not None
    said = b""
    async with asyncio.timeout(60):
        while b"asyncio.base_events" not in said:  # The demo's modules are being loaded.
            said = await demo.stderr.readline()
        demo.send_signal(signal.SIGINT)
        rest = await demo.stderr.read()
        assert await demo.wait() == 128 + signal.SIGINT
    lines = [line for line in rest.splitlines() if not line.startswith(b"import time:")]
    assert lines == [b"demo: stopped before it began"]
