"""An endpoint that a site keeps running comes back after its agent was killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from compute_functions import processes
from lab.endpoint import register
from lab.endpoint_unit import Agent, enabled_endpoint
from lab.processes import Command, output_of
from lab.stand_in import StandIn, stand_in
from tests.support.eventually import eventually, eventually_so


async def configured(folder: Path, globus: StandIn) -> Agent:
    lock = folder / "functions.lock"
    await register(lock, globus, client="local")
    agent = Agent(
        name="site",
        user_dir=folder / "endpoints",
        environment=globus.environment() | globus.client("local"),
    )
    arguments = [
        *(sys.executable, "-m", "compute_functions.endpoint", "configure", "--name", agent.name),
        *("--user-dir", str(agent.user_dir), "--site-dir", str(folder), "--lock", str(lock)),
        *("--email", "operator@example.org", "--heartbeat-period", "1"),
    ]
    command = Command(
        name="configure", arguments=arguments, log=folder / "log", environment=agent.environment
    )
    await output_of(command, within_s=60)
    return agent


async def test_an_endpoint_comes_back_after_its_agent_was_killed(tmp_path: Path) -> None:
    async with stand_in(tmp_path / "globus") as globus:
        agent = await configured(tmp_path, globus)
        registered = agent.user_dir / agent.name / "endpoint.json"
        pid_file = agent.user_dir / agent.name / "daemon.pid"
        async with enabled_endpoint(agent) as unit:
            known = json.loads(registered.read_text())["endpoint_id"]
            killed = unit.main_pid
            assert killed == int(pid_file.read_text().split()[0])
            there = {pid: processes.started(pid) for pid in unit.processes()}
            os.kill(killed, signal.SIGKILL)
            await eventually(lambda: killed not in unit.processes() and unit.starts > 1)
            assert not any(start and processes.lives(pid, start) for pid, start in there.items())
            # An agent that finds a fresh process file ends; one that finds it old writes its own.
            await eventually(
                lambda: pid_file.exists() and pid_file.read_text().split()[:1] != [str(killed)],
                seconds=60,
            )
            await eventually_so(agent.running, seconds=60, every_s=0.2)
            assert json.loads(registered.read_text())["endpoint_id"] == known
            again = unit.main_pid
            assert again is not None
        assert processes.started(again) is None
