"""A supervised process: awaited until it serves, started again when it dies, stopped in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from resource_server.adapters import systemd
from resource_server.supervised import Process, ProcessFailed, running
from tests.support.eventually import eventually

SERVES = """
import time
from resource_server.adapters import systemd
systemd.notify_ready()
time.sleep(600)
"""
IGNORES_SIGTERM = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES
ENDS = "raise SystemExit(3)"


class Family:
    """Processes that run small programs, and the ids of those that have said that they serve."""

    def __init__(self, notices: systemd.Notices) -> None:
        self.ready: list[int] = []
        self._notices = notices
        self._processes: list[Process] = []

    def process(self, program: str, *, interpreter: str = sys.executable) -> Process:
        environ = {**os.environ, **self._notices.environment}
        process = Process("a process", [interpreter, "-c", program], environ)
        self._processes.append(process)
        return process

    def hear(self) -> None:
        for pid in self._notices.ready():
            self.ready.append(pid)
            for process in self._processes:
                process.note_ready(pid)


@contextmanager
def hearing(folder: Path) -> Iterator[Family]:
    with systemd.noticing(folder) as notices:
        family = Family(notices)
        loop = asyncio.get_running_loop()
        loop.add_reader(notices, family.hear)
        try:
            yield family
        finally:
            loop.remove_reader(notices)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_body_begins_when_all_serve_and_afterwards_none_does(tmp_path: Path) -> None:
    with hearing(tmp_path) as family:
        async with running([family.process(SERVES), family.process(SERVES)], stop_within_s=20):
            assert len(family.ready) == 2
            assert all(map(runs, family.ready))
        assert not any(map(runs, family.ready))


async def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    with capture_logs() as logs, hearing(tmp_path) as family:
        async with running([family.process(SERVES)], stop_within_s=20):
            for count in (2, 3):
                os.kill(family.ready[-1], signal.SIGKILL)

                def again(count: int = count) -> bool:
                    return len(family.ready) == count

                await eventually(again)
    died = [entry for entry in logs if entry["event"] == "process_died"]
    assert [entry["status"] for entry in died] == [-signal.SIGKILL] * 2
    assert died[1]["again_in_s"] > died[0]["again_in_s"]


async def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """As while its virtual environment is being replaced."""
    interpreter, away = tmp_path / "python", tmp_path / "away"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o700)
    with capture_logs() as logs, hearing(tmp_path) as family:
        process = family.process(SERVES, interpreter=str(interpreter))
        async with running([process], stop_within_s=20):
            interpreter.rename(away)
            os.kill(family.ready[-1], signal.SIGKILL)
            await eventually(lambda: len(failures(logs)) == 2)
            away.rename(interpreter)
            await eventually(lambda: len(family.ready) == 2)
    assert "No such file" in failures(logs)[0]["reason"]
    assert len([entry for entry in logs if entry["event"] == "process_died"]) == 1


def failures(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [entry for entry in logs if entry["event"] == "process_failed"]


async def test_a_process_that_dies_at_the_end_stays_dead(tmp_path: Path) -> None:
    with capture_logs() as logs, hearing(tmp_path) as family:
        process = family.process(SERVES)
        async with running([process], stop_within_s=20):
            process.leave_dead()
            os.kill(family.ready[-1], signal.SIGKILL)
    assert [entry["event"] for entry in logs] == ["process_started", "process_ready"]


async def test_a_process_that_never_serves_stops_the_others(tmp_path: Path) -> None:
    with hearing(tmp_path) as family:
        with pytest.RaisesGroup(ProcessFailed):
            async with running([family.process(SERVES), family.process(ENDS)], stop_within_s=20):
                raise AssertionError
        assert not any(map(runs, family.ready))


async def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with capture_logs() as logs, hearing(tmp_path) as family:
        async with running([family.process(IGNORES_SIGTERM)], stop_within_s=0.2):
            pass
        assert not any(map(runs, family.ready))
    assert "process_killed" in [entry["event"] for entry in logs]


def test_without_anybody_who_listens_nothing_happens() -> None:
    systemd.notify_ready({})


def test_a_stranger_s_message_means_nothing(tmp_path: Path) -> None:
    with systemd.noticing(tmp_path) as notices:
        systemd.notify_stopping(notices.environment)
        assert list(notices.ready()) == []
        systemd.notify_ready(notices.environment)
        assert list(notices.ready()) == [os.getpid()]
