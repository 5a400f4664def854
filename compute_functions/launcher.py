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
import secrets
import signal
import socket
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compute_functions import (
    engine_command,
    engine_config,
    errors,
    instances,
    loopback_port,
    model_config,
    private_file,
    processes,
    runtime_directory,
)
from compute_functions.attendant import Attendant
from compute_functions.contract import InstanceState
from compute_functions.engine_client import Engine
from compute_functions.engine_config import EngineConfig
from compute_functions.engine_process import EngineProcess
from compute_functions.instances import Registration
from compute_functions.model_config import ModelConfig
from compute_functions.relay.credentials import Claims, SiteCredentials
from compute_functions.relay.enrolment import Enrolment, key_file
from compute_functions.relay.relay import Relay, Served
from compute_functions.site import SiteDirectory

log = logging.getLogger("hotnode.launcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything that one run of the launcher is told."""

    site: SiteDirectory
    engine: EngineConfig
    model: ModelConfig
    name: str
    job_id: str
    engines_dir: Path | None
    runtime_root: Path

    @property
    def log_file(self) -> Path:
        """Where the engine's output goes."""
        return self.site.logs / f"{self.name}.log"

    @property
    def paths(self) -> dict[str, str]:
        """Where each path that callers may use leads; a route that leads nowhere is an error."""
        paths = self.engine.served(self.model.routes)
        known = {path.removeprefix(engine_config.PUBLIC_ROOT) for path in self.engine.paths}
        if unknown := [route for route in self.model.routes if route not in known]:
            raise errors.ConfigurationError(
                f"{self.model.file}: routes: {self.engine.name} has no {unknown[0]!r}; "
                f"it has {', '.join(sorted(known))}"
            )
        if self.engine.wants_port and self.engine.probe_for(paths) is None:
            raise errors.ConfigurationError(
                f"{self.engine.name} listens on a port and has no probe for any route of "
                f"{self.model.file}: nothing would show that it asks for its key"
            )
        return paths

    def registration(self, endpoint: str) -> Registration:
        """Return the instance's first registration."""
        now = time.time()
        pid = os.getpid()
        return Registration(
            name=self.name,
            model=self.model.id,
            framework=self.engine.framework,
            state=InstanceState.STARTING,
            endpoint=endpoint,
            api_key_file=str(self.site.keys.absolute() / self.name),
            pid=pid,
            pid_start=processes.started(pid) or 0,
            job_id=self.job_id,
            host=socket.gethostname(),
            started_at=now,
            heartbeat=now,
            paths=self.paths,
            log_file=str(self.log_file.absolute()),
        )


async def run(launch: Launch, stop: asyncio.Event) -> None:
    """Run one instance until `stop` is set; leave no process, no socket and no key."""
    launch.site.prepare()
    _refuse_twin(launch)
    identity = f"{launch.site.root.absolute()}:{launch.name}"
    with runtime_directory.claimed(launch.runtime_root, identity) as runtime:
        port = loopback_port.free() if launch.engine.wants_port else 0
        endpoint = loopback_port.endpoint(port) if port else str(runtime.socket)
        registration = launch.registration(endpoint)
        key = secrets.token_urlsafe(32)
        engine = Engine(endpoint=registration.endpoint, api_key=key)
        relay = _relay(launch, registration, engine)
        attendant = Attendant(
            site=launch.site,
            config=launch.engine,
            registration=registration,
            engine=engine,
            companion=relay,
        )
        with private_file.lent(Path(registration.api_key_file), key):
            places = engine_command.Places(
                engines_dir=launch.engines_dir,
                runtime_dir=runtime.path,
                socket=runtime.socket,
                port=port,
            )
            try:
                await _run(launch, attendant, places, key=key, stop=stop)
            finally:
                if relay is not None:
                    await relay.stop()


def _relay(launch: Launch, registration: Registration, engine: Engine) -> Relay | None:
    """Return the instance's relay; None at a site that is not enrolled."""
    enrolment = Enrolment.read(launch.site)
    if enrolment is None:
        return None
    claims = Claims(
        cluster=enrolment.cluster,
        instance=registration.name,
        job=registration.job_id,
        framework=registration.framework,
        model=registration.model,
    )
    return Relay(
        Served(
            instance=registration.name,
            engine=engine,
            paths=registration.paths,
            load=launch.engine.load,
        ),
        enrolment=enrolment,
        credentials=SiteCredentials(key_file(launch.site), claims),
    )


async def _run(
    launch: Launch,
    attendant: Attendant,
    places: engine_command.Places,
    *,
    key: str,
    stop: asyncio.Event,
) -> None:
    command = engine_command.command(launch.engine, launch.model, places)
    environment = engine_command.environment(
        launch.engine, launch.model, places, api_key=key, ours=os.environ
    )
    process = await EngineProcess.start(command, environment, launch.log_file)
    try:
        attendant.move(InstanceState.STARTING)
        await attendant.attend(process, stop)
        await attendant.drain(process)
    except errors.EngineFailed as error:
        attendant.move(InstanceState.FAILED, str(error))
        raise
    finally:
        await process.stop(attendant.grace_s)


def _refuse_twin(launch: Launch) -> None:
    """Refuse a name that lives on another host; on this one the runtime directory's lock does."""
    for found in instances.observed(launch.site, time.time()):
        if found.name == launch.name and found.attended:
            raise errors.AlreadyRunning(f"{launch.name} is {found.state} on {found.host}")


def _launch(arguments: Sequence[str] | None) -> Launch:
    parser = ArgumentParser(prog="python -m compute_functions.launcher", description=__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="a file of engines/")
    parser.add_argument("--model", type=Path, required=True, help="a file of models/")
    parser.add_argument("--site-dir", type=Path, required=True, help="the site's directory")
    parser.add_argument("--engines-dir", type=Path, default=os.environ.get("HOTNODE_ENGINES_DIR"))
    parser.add_argument("--runtime-dir", type=Path, default=tempfile.gettempdir())
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
    )


def _name(text: str) -> str:
    """Return a name that can be a file's, or refuse it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise ArgumentTypeError(f"{text!r} is no name: letters, digits and . _ - only")
    return text


async def _main(launch: Launch) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(launch, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher and return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_main(_launch(arguments)))
    except errors.EngineFailed as error:
        log.error("engine_failed %s", error)  # noqa: TRY400 # the traceback is not the engine's
        return 1
    except (errors.ConfigurationError, errors.AlreadyRunning) as error:
        log.error("not_started %s", error)  # noqa: TRY400 # the operator's error, not a program's
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
