"""The wall clock of a relay or of the gateway jumps by two hours while streams run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.processes import Child
from tests.support import jumping_clock
from tests.support.eventually import eventually
from tests.support.faults import Plant, plant
from tests.support.local_globus import LocalGlobus

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

HOURS = [-7200.0, 7200.0]


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what makes processes that are started then be ready to jump."""
    shutil.copy(jumping_clock.__file__, tmp_path / "sitecustomize.py")

    def ready(seconds: float) -> None:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("JUMP_S", str(seconds))

    return ready


async def jump(child: Child) -> None:
    """Have a process's clock jump."""
    os.kill(child.pid, signal.SIGUSR1)
    await eventually(lambda: "clock_jumped" in child.command.log.read_text(encoding="utf-8"))


@pytest.mark.parametrize("seconds", HOURS)
async def test_a_relay_s_clock_jumps_and_its_link_is_cut(
    shared: Plant, clock: Callable[[float], None], seconds: float
) -> None:
    clock(seconds)
    name = f"clock-{seconds:g}"
    async with replace(shared.relay, name=name).running() as relay:
        await shared.linked()
        reading = shared.begin(tokens=60, every_s=0.05)
        await reading.until(b'"n":3,')
        await jump(relay)
        shared.wire.cut()
        assert await shared.ended(reading) == "whole"
        assert await shared.ended(shared.begin(tokens=3)) == "whole"
    await shared.linked(0)


@pytest.mark.parametrize("seconds", HOURS)
async def test_the_gateway_s_clock_jumps(
    globus: LocalGlobus, clock: Callable[[float], None], seconds: float
) -> None:
    clock(seconds)
    async with plant(globus) as running, running.relay.running():
        await running.linked()
        reading = running.begin(tokens=60, every_s=0.05)
        await reading.until(b'"n":3,')
        await jump(running.gateway.process)
        if seconds < 0:
            # In the other direction the session has ended, and a new credential seems to be, too.
            running.wire.cut()
        assert await running.ended(reading) == "whole"
        assert await running.ended(running.begin(tokens=3)) == "whole"
