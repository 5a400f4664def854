"""One run of an engine, from its private folder to its last word: by hand or in a job.

Whoever starts it says when it ends (`Ending`) and how its relay proves itself to the hubs.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from compute_functions import (
    engine_command,
    errors,
    loopback_port,
    private_file,
    runtime_directory,
)
from compute_functions.attendant import Attendant, Companion, Ending
from compute_functions.contract import InstanceState
from compute_functions.contract.instances import Stage
from compute_functions.door.door import Door
from compute_functions.door.fronts import Fronts
from compute_functions.engine_client import Engine
from compute_functions.engine_process import EngineProcess
from compute_functions.instances import Registration
from compute_functions.launch import Launch
from compute_functions.local_weights import LocalWeights
from compute_functions.registrar import Fields, Registrar, Vitals
from compute_functions.relay.credentials import Claims, CredentialSource
from compute_functions.relay.engine_calls import CallerWatch
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.relay import Relay, Served
from compute_functions.relay.supervision import beside
from compute_functions.runtime_directory import RuntimeDirectory

log = logging.getLogger("hotnode.launcher")

#: After a fault of the part that works on batches, before it begins again (seconds).
_RESTART_S = 5.0
#: Where an instance's credentials come from.
Credentials: TypeAlias = Callable[[Claims], CredentialSource]


class BatchCompanion(Companion, Protocol):
    """A companion that also works on batches; `run` is kept running beside the engine."""

    async def run(self) -> None:
        """Work until cancelled; leave no process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """How an engine comes to batches, and what must know of its callers for that.

    `made` makes the companion around the callers' own: of an instance's registration, with its own
    folder.
    """

    made: Callable[[Companion, Registration, Path], BatchCompanion]
    watch: CallerWatch


#: What everybody may know of a mistake of the operators: its own words name paths.
WRONG_FILES = "a file or setting of the site is wrong; its operators find more in the job's log"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What the parts of a run share."""

    launch: Launch
    ending: Ending
    registrar: Registrar
    attendant: Attendant
    relay: Relay
    door: Door | None
    places: engine_command.Places
    key: str
    batches: BatchCompanion | None = None


async def run(
    launch: Launch,
    ending: Ending,
    credentials: Credentials,
    *,
    vitals: Vitals = Fields,
    batches: Batches | None = None,
) -> None:
    """Run one instance until `ending` asks; leave no process, no socket, no key and no copy.

    `vitals` are told in the registration beside what is known here; with `batches` the engine
    works on these too. Raises `EngineFailed`,
    `ConfigurationError` or `AlreadyRunning`; the first two once they are registered, if the
    instance was.
    """
    launch.site.prepare()
    _refuse_twin(launch)
    identity = f"{launch.site.root.absolute()}:{launch.name}"
    with runtime_directory.claimed(launch.runtime_root, identity) as runtime:
        run = _assembled(launch, ending, credentials, runtime, batches)
        run.registrar.watch(vitals)
        with private_file.lent(Path(run.registrar.registration.api_key_file), run.key):
            async with run.registrar.beating(), _opened(run.door, runtime), _beside(run.batches):
                try:
                    await _lived(run)
                finally:
                    await run.relay.stop()


def _assembled(
    launch: Launch,
    ending: Ending,
    credentials: Credentials,
    runtime: RuntimeDirectory,
    batches: Batches | None,
) -> _Run:
    """Make the parts of a run; nothing is started or registered yet."""
    port = loopback_port.free() if launch.engine.wants_port else 0
    endpoint = loopback_port.endpoint(port) if port else str(runtime.socket)
    registration = launch.registration(endpoint)
    key = secrets.token_urlsafe(32)
    engine = Engine(endpoint=endpoint, api_key=key)
    watch = None if batches is None else batches.watch
    relay = _relay(launch, registration, engine, credentials=credentials, watch=watch)
    door = _door(launch, registration, engine, watch)
    if door is not None:
        registration = replace(registration, door=door.address, door_fingerprint=door.fingerprint)
    registrar = Registrar(launch.site, registration, heartbeat_s=launch.heartbeat_s)
    callers: Companion = relay if door is None else Fronts(relay, door)
    worked_on = None if batches is None else batches.made(callers, registration, runtime.path)
    return _Run(
        launch=launch,
        ending=ending,
        registrar=registrar,
        attendant=Attendant(
            config=launch.engine,
            registrar=registrar,
            engine=engine,
            ending=ending,
            companion=callers if worked_on is None else worked_on,
        ),
        relay=relay,
        door=door,
        places=engine_command.Places(
            engines_dir=launch.engines_dir,
            runtime_dir=runtime.path,
            socket=runtime.socket,
            port=port,
        ),
        key=key,
        batches=worked_on,
    )


async def _lived(run: _Run) -> None:
    """See the instance through, and register how it ended."""
    await run.registrar.move(InstanceState.STARTING, stage=Stage.NODE)
    async with _failures_told(run.registrar):
        copy = _copy(run.launch)
        if copy is None:
            await _served(run, run.launch.model.path)
            return
        await run.registrar.reach(Stage.WEIGHTS)
        async with copy.at_hand(run.registrar.note, run.ending.asked) as path:
            if path is None:
                await run.attendant.leave()
            else:
                await _served(run, path)


async def _served(run: _Run, weights: Path) -> None:
    """Run the engine with the weights of this folder."""
    model = replace(run.launch.model, path=weights)
    command = engine_command.command(
        run.launch.engine, model, run.places, extra=run.launch.extra_arguments
    )
    environment = engine_command.environment(
        run.launch.engine, model, run.places, api_key=run.key, ours=os.environ
    )
    process = await EngineProcess.start(command, environment, run.launch.log_file)
    try:
        # Told before the engine is stopped, which may take long.
        async with _failures_told(run.registrar):
            await run.registrar.reach(Stage.ENGINE)
            await run.attendant.attend(process)
            await run.attendant.drain(process)
    finally:
        await run.attendant.end(process)


@asynccontextmanager
async def _failures_told(registrar: Registrar) -> AsyncIterator[None]:
    """Register what the body fails with, unless that was done within."""
    try:
        yield
    except (errors.EngineFailed, errors.ConfigurationError) as error:
        if registrar.registration.state is not InstanceState.FAILED:
            theirs = isinstance(error, errors.ConfigurationError)
            await registrar.move(InstanceState.FAILED, WRONG_FILES if theirs else str(error))
        raise


def _copy(launch: Launch) -> LocalWeights | None:
    """Return the copy of the weights that the model's file asks for, where the site has room."""
    if not launch.model.copy_weights:
        return None
    if launch.local_weights is None:
        log.warning("weights_not_copied name=%s reason=no --local-weights-dir", launch.name)
        return None
    return LocalWeights(
        launch.model.path,
        launch.local_weights,
        keep=launch.keep_weights,
        within_s=launch.engine.start_deadline_s,
    )


def _door(
    launch: Launch, registration: Registration, engine: Engine, watch: CallerWatch | None
) -> Door | None:
    """Return the instance's door, where the site wants one and callers may come."""
    if not launch.task_host or launch.purpose:
        return None
    paths = registration.paths.values()
    return Door(engine, name=registration.name, host=launch.task_host, paths=paths, watch=watch)


def _beside(batches: BatchCompanion | None) -> AbstractAsyncContextManager[None]:
    if batches is None:
        return nullcontext()
    return beside(batches.run, name="batches", pause_s=_RESTART_S)


def _opened(door: Door | None, runtime: RuntimeDirectory) -> AbstractAsyncContextManager[None]:
    return nullcontext() if door is None else door.opened(runtime.path)


def _relay(
    launch: Launch,
    registration: Registration,
    engine: Engine,
    *,
    credentials: Credentials,
    watch: CallerWatch | None,
) -> Relay:
    """Return the instance's relay.

    At a site that is not enrolled, and of an instance that is not for callers, it dials no hub.
    """
    known = None if launch.purpose else Enrolment.read(launch.site)
    enrolment = known or Enrolment(cluster="", hubs=())
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
            watch=watch,
        ),
        enrolment=enrolment,
        credentials=credentials(claims),
    )


def _refuse_twin(launch: Launch) -> None:
    """Refuse a name that lives on another host; on this one the runtime directory's lock does."""
    try:
        found = Registration.read(launch.site.registration(launch.name)).observed(time.time())
    except FileNotFoundError:
        return
    except errors.ConfigurationError as error:
        log.warning("registration_unreadable name=%s error=%s", launch.name, error)
        return
    if found.attended:
        raise errors.AlreadyRunning(f"{launch.name} is {found.state} on {found.host}")
