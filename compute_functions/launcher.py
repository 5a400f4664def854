"""Start an engine for one model, register it, watch it and stop it.

    python -m compute_functions.launcher --engine FILE --model FILE --site-dir DIR

It stays in the foreground until SIGTERM or SIGINT. The instance is registered as `starting`, as
`ready` once it has answered its probe, as `draining` when it is asked to stop, and in the end as
`stopped`, or as `failed` with the reason. Exit status: 0 stopped on request, 1 the engine failed,
2 a file or setting is wrong or the instance runs already.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from compute_functions import engine_config, engine_run, event_loop, exit_status, model_config
from compute_functions.instances import MAX_HEARTBEAT_S
from compute_functions.launch import Launch
from compute_functions.registrar import HEARTBEAT_S
from compute_functions.relay.credentials import Claims, SiteCredentials
from compute_functions.relay.enrolment import key_file
from compute_functions.site import SiteDirectory

#: Of the engine's grace so much is kept for its own end, when streams take long (seconds).
ENDING_S = 5.0


class StopByHand:
    """An end when an event is set; streams and the engine share the engine's own grace."""

    def __init__(self, stop: asyncio.Event, grace_s: float) -> None:
        self._stop = stop
        self._grace_s = grace_s

    async def asked(self) -> str:
        """Wait for the event; there is nothing to say about it."""
        await self._stop.wait()
        return ""

    def streams_s(self, since: float) -> float:
        """Return what the engine's grace leaves to them."""
        return since + self._grace_s - ENDING_S - time.monotonic()

    def others_s(self, since: float) -> float:
        """Return nothing: what only the engine knows of, it finishes by itself."""
        return 0.0

    def engine_s(self, since: float, wanted_s: float) -> float:
        """Return what the streams have left of the grace."""
        return max(0.0, since + wanted_s - time.monotonic())


async def run(launch: Launch, stop: asyncio.Event) -> None:
    """Run one instance until `stop` is set; leave no process, no socket and no key."""

    def signing(claims: Claims) -> SiteCredentials:
        return SiteCredentials(key_file(launch.site), claims)

    await engine_run.run(launch, StopByHand(stop, launch.engine.stop_grace_s), signing)


def _launch(arguments: Sequence[str] | None) -> Launch:
    parser = ArgumentParser(prog="python -m compute_functions.launcher", description=__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="a file of engines/")
    parser.add_argument("--model", type=Path, required=True, help="a file of models/")
    parser.add_argument("--site-dir", type=Path, required=True, help="the site's directory")
    parser.add_argument("--engines-dir", type=Path, default=os.environ.get("HOTNODE_ENGINES_DIR"))
    parser.add_argument("--runtime-dir", type=Path, default=tempfile.gettempdir())
    parser.add_argument("--local-weights-dir", type=Path, help="for copies of weights")
    parser.add_argument("--keep-weights", action="store_true", help="leave the copy there")
    parser.add_argument("--heartbeat-s", type=_heartbeat, default=HEARTBEAT_S)
    parser.add_argument("--name", type=_name, help="by default made of the model's id")
    parser.add_argument("--job-id", default=os.environ.get("SLURM_JOB_ID") or f"pid-{os.getpid()}")
    given = parser.parse_args(arguments)
    model = model_config.load(given.model, given.engines_dir)
    return Launch(
        site=SiteDirectory(given.site_dir),
        engine=engine_config.load(given.engine),
        model=model,
        name=given.name or _name(re.sub(r"[^A-Za-z0-9]+", "--", model.id).strip("-")),
        job_id=given.job_id,
        engines_dir=given.engines_dir,
        runtime_root=given.runtime_dir,
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        heartbeat_s=given.heartbeat_s,
        local_weights=given.local_weights_dir,
        keep_weights=given.keep_weights,
    )


def _name(text: str) -> str:
    """Return a name that can be a file's, or refuse it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise ArgumentTypeError(f"{text!r} is no name: letters, digits and . _ - only")
    return text


def _heartbeat(text: str) -> float:
    """Return a time between heartbeats that no reader takes for silence."""
    seconds = float(text)
    if not 0 < seconds <= MAX_HEARTBEAT_S:
        raise ArgumentTypeError(f"must be more than 0 and at most {MAX_HEARTBEAT_S:g}")
    return seconds


async def _main(arguments: Sequence[str] | None) -> None:
    launch = _launch(arguments)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(launch, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher and return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with (
        exit_status.of_an_instance() as status,
        asyncio.Runner(loop_factory=event_loop.new) as runner,
    ):
        runner.run(_main(arguments))
    return status.code


if __name__ == "__main__":
    sys.exit(main())
