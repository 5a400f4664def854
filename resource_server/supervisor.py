"""All processes of the gateway on one machine: a hub, a controller, and several for the web."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import structlog

from resource_server.adapters import systemd
from resource_server.adapters.metrics import files as metrics_files
from resource_server.config import Role, SettingInvalid, Settings
from resource_server.listener import announced, bind
from resource_server.startup import GRACE_S
from resource_server.supervised import Process, running

log = structlog.get_logger()

#: A process ends once its requests have, or their time is over, and then needs a little (seconds).
STOP_WITHIN_S = GRACE_S + 10.0


def run(settings: Settings, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Supervise the gateway's processes until told to stop; return the exit status.

    `arguments` are those of the command `serve` that all of them get.
    """
    return asyncio.run(Supervisor(settings, arguments, environ).run())


class Supervisor:
    """Holds the listening socket, so that none is refused while processes come and go."""

    def __init__(
        self, settings: Settings, arguments: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._arguments = arguments
        self._environ = environ

    async def run(self) -> int:
        """Live until a signal says otherwise: 0, or 1 if a process did not come to serve."""
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        life = asyncio.create_task(self._live(), name="gateway")
        end = asyncio.create_task(told.wait())
        await asyncio.wait({life, end}, return_when=asyncio.FIRST_COMPLETED)
        life.cancel()
        end.cancel()
        await asyncio.wait({life, end})
        failure = None if life.cancelled() else life.exception()
        if isinstance(failure, SettingInvalid):
            raise failure
        if failure is not None:
            log.error("gateway_failed", exc_info=failure)
        return 0 if failure is None else 1

    async def _live(self) -> None:
        """Start everything, in this order, and end it in the other when cancelled."""
        folder = self._settings.state_dir / "run"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        metrics_files.empty(self._settings.state_dir / "metrics")
        with ExitStack() as stack:
            listener = stack.enter_context(bind(self._settings))
            notices = stack.enter_context(systemd.noticing(folder))
            behind, web = self._processes(listener, notices)
            stack.enter_context(_heard(notices, (*behind, *web)))
            async with (
                running(behind, stop_within_s=STOP_WITHIN_S),
                running(web, stop_within_s=STOP_WITHIN_S),
            ):
                await self._serve(listener, (*behind, *web))

    async def _serve(self, listener: socket.socket, processes: Sequence[Process]) -> None:
        try:
            with announced(self._settings.state_dir, listener):
                systemd.notify_ready(self._environ)
                await asyncio.Event().wait()
        finally:
            systemd.notify_stopping(self._environ)
            # A terminal and some managers tell the whole group to end.
            for process in processes:
                process.leave_dead()

    def _processes(
        self, listener: socket.socket, notices: systemd.Notices
    ) -> tuple[Sequence[Process], Sequence[Process]]:
        """Return hub and controller, and the web processes, which need them."""
        environ = {**self._environ, **notices.environment}
        files = (listener.fileno(),)
        behind = [
            Process("hub", self._command(Role.HUB), environ),
            Process("controller", self._command(Role.CONTROLLER), environ),
        ]
        listen = f"--listener={listener.fileno()}"
        web = [
            Process(f"web-{number}", self._command(Role.WEB, listen), environ, files=files)
            for number in range(1, self._settings.workers + 1)
        ]
        return behind, web

    def _command(self, role: Role, *further: str) -> Sequence[str]:
        # They end with us, whatever ends us.
        ours = ("--role", role, "--no-migrate", f"--supervisor={os.getpid()}")
        return [
            *(sys.executable, "-m", "resource_server", "serve"),
            *(*ours, *further, *self._arguments),
        ]


@contextmanager
def _heard(notices: systemd.Notices, processes: Sequence[Process]) -> Iterator[None]:
    """Tell each process's keeper when it serves."""

    def hear() -> None:
        for pid in notices.ready():
            for process in processes:
                process.note_ready(pid)

    loop = asyncio.get_running_loop()
    loop.add_reader(notices, hear)
    try:
        yield
    finally:
        loop.remove_reader(notices)
