"""Run, start, look at and stop the site's agent.

    python -m compute_functions.site_agent run|start|status|stop|check --site-dir DIR

`run` stays in the foreground, for systemd; where another agent works it waits to take over, or ends
with `--unless-running`. `start` starts one in the background, for cron; it ends by itself if there
is one. `status` prints what the agent sees, as JSON, and ends with 1 if none works. `stop` ends the
agent of this host; instances go on. `check` says whether an agent would begin. Exit status of
`run`: 0 stopped, or not needed; 1 a fault, which the log tells; 2 a file of the site is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from compute_functions import processes, site_config
from compute_functions.errors import ConfigurationError, SiteError
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import ensuring, json_file, log_thread, process, starting
from compute_functions.site_agent.changes import Superseded
from compute_functions.site_agent.lease import Holder, Lease
from compute_functions.site_agent.process import Run

log = logging.getLogger("hotnode.site_agent")

#: The agent ends when the command of its scheduler that runs has ended (seconds).
STOP_WITHIN_S = 60.0
#: A log is put aside when it has so many bytes, and so many old ones are kept.
LOG_BYTES, OLD_LOGS = 10_000_000, 3
FAULT, WRONG_FILE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = ArgumentParser(
        prog="python -m compute_functions.site_agent",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("run", *_COMMANDS))
    parser.add_argument("--site-dir", type=Path, required=True, help="the site's directory")
    parser.add_argument("--unless-running", action="store_true", help="for `run`")
    parser.add_argument("--log-file", type=Path, help="for `run`; otherwise it logs to stderr")
    given = parser.parse_args(arguments)
    site = SiteDirectory(given.site_dir.absolute())
    if given.command == "run":
        with log_thread.written_by(_handler(given.log_file)) as handler:
            logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
            status = _run(Run(site=site, unless_running=given.unless_running))
        return _begin_anew() if status is None else status
    try:
        return _COMMANDS[given.command](site)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_FILE
    except OSError as error:
        sys.stderr.write(f"{site.root}: {error}\n")
        return FAULT


def _handler(file: Path | None) -> logging.Handler:
    """Return what writes the log."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler()
    else:
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8"
        )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _run(what: Run) -> int | None:
    """Be the agent; return the exit status, or None if the process is to begin anew."""
    os.umask(0o077)
    ended = asyncio.run(_until_stopped(what))
    match ended:
        case None:
            return 0
        case ConfigurationError():
            log.error("not_started reason=%s", ended)
            return WRONG_FILE
        case Superseded():
            log.info("agent_begins_anew reason=%s", ended)
            return None
        case SiteError():
            log.critical("agent_failed reason=%s", ended)
        case _:
            log.critical("agent_failed reason=%r", ended, exc_info=ended)
    return FAULT


def _begin_anew() -> NoReturn:
    """Be the same process under the same supervisor, with what is installed now."""
    command = [sys.executable, *starting.MODULE, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own command


async def _until_stopped(what: Run) -> BaseException | None:
    """Return why the agent ended; None if it was told to."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    task = asyncio.create_task(process.run(what, stop))
    await asyncio.wait({task})
    return task.exception()


def _start(site: SiteDirectory) -> int:
    site.prepare()
    sys.stdout.write(f"{starting.detach(site, site_config.load(site))}\n")
    return 0


def _check(site: SiteDirectory) -> int:
    site_config.load(site)
    return 0


def _status(site: SiteDirectory) -> int:
    # What an agent saw looks fresh for some seconds after its end.
    status = ensuring.observed(site) if _holder(site) else None
    if status is None:
        sys.stderr.write("no agent works\n")
        return 1
    sys.stdout.write(json_file.text(status.to_wire()) + "\n")
    return 0


def _stop(site: SiteDirectory) -> int:
    holder = _holder(site)
    if holder is None:
        return 0
    if holder.host != socket.gethostname():
        sys.stderr.write(f"the agent works on {holder.host}: stop it there\n")
        return FAULT
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        return 0
    return 0 if _has_ended(holder) else FAULT


def _holder(site: SiteDirectory) -> Holder | None:
    """Return which agent holds the lease, unless it is a process of this host that has ended."""
    holder = Lease(site.agent).holder() if site.agent.is_dir() else None
    return None if holder is None or holder.is_gone else holder


def _has_ended(holder: Holder) -> bool:
    deadline = time.monotonic() + STOP_WITHIN_S
    while processes.lives(holder.pid, holder.pid_start):
        if time.monotonic() > deadline:
            sys.stderr.write(f"{holder.pid} has not ended in {STOP_WITHIN_S:g} s\n")
            return False
        time.sleep(0.05)
    return True


_COMMANDS: dict[str, Callable[[SiteDirectory], int]] = {
    "start": _start,
    "status": _status,
    "stop": _stop,
    "check": _check,
}

if __name__ == "__main__":
    sys.exit(main())
