"""The launcher with a small engine: start, service, every way to fail, and what stays behind."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from compute_functions import instances, launcher, loopback_port, processes
from compute_functions.contract import InstanceState
from compute_functions.engine_client import Call, Engine
from compute_functions.engine_probe import WORK_TIMEOUT_S
from compute_functions.errors import AlreadyRunning, ConfigurationError, EngineFailed
from compute_functions.instances import Registration
from compute_functions.launch import Launch
from compute_functions.site import VARIABLE
from tests.support.engine_doubles import EngineThatNotesItsCallers, listening_on_port
from tests.support.eventually import eventually
from tests.support.launches import ON_PORT, StateLog, launch, states, write_engine, write_model
from tests.support.process_table import listener


def registered(given: Launch) -> Registration:
    return Registration.read(given.site.instances / "instance.json")


def read(path: str | Path) -> str:
    return Path(path).read_text()


def engine_pid(given: Launch) -> int:
    return listener(registered(given).endpoint)


def assert_nothing_is_left(given: Launch) -> None:
    assert not Path(registered(given).endpoint).exists()
    assert not list(given.site.keys.iterdir())
    assert not [path for path in given.runtime_root.glob("hotnode-*/*") if path.suffix != ".lock"]


async def running(given: Launch, stop: asyncio.Event, log: StateLog) -> asyncio.Task[None]:
    """Start the launcher and wait until the instance is ready."""
    task = asyncio.create_task(launcher.run(given, stop))
    waiting = asyncio.create_task(log.until("ready"))
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    await waiting
    return task


async def test_an_instance_goes_from_starting_to_stopped(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        pid = engine_pid(given)
        stop.set()
        await task

    assert log.seen == ["starting", "ready", "draining", "stopped"]
    assert registered(given).state is InstanceState.STOPPED
    assert processes.started(pid) is None
    assert_nothing_is_left(given)


async def test_a_ready_instance_answers_with_the_registered_key(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        found = registered(given)
        key_file = Path(found.api_key_file)
        call = Call(
            path="/complete", body=b'{"model": "vendor/model"}', timeout_s=10, max_bytes=1000
        )
        right = await Engine(endpoint=found.endpoint, api_key=read(key_file)).send(call)
        wrong = await Engine(endpoint=found.endpoint, api_key="guessed").send(call)
        modes = [path.stat().st_mode & 0o777 for path in (key_file, Path(found.endpoint).parent)]
        stop.set()
        await task

    assert (right.status, wrong.status) == (200, 401)
    assert modes == [0o600, 0o700]
    assert found.paths == {"/v1/completions": "/complete"}
    assert (found.framework, found.model, found.job_id) == ("small", "vendor/model", "job-1")
    assert found.host == socket.gethostname()
    assert processes.lives(found.pid, found.pid_start)


async def test_an_engine_may_listen_on_a_port(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, command=ON_PORT), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        found = registered(given)
        key = read(found.api_key_file)
        call = Call(
            path="/complete", body=b'{"model": "vendor/model"}', timeout_s=10, max_bytes=1000
        )
        right = await Engine(endpoint=found.endpoint, api_key=key).send(call)
        nobody = await Engine(endpoint=found.endpoint, api_key="").send(call)
        stop.set()
        await task

    assert found.endpoint.startswith("http://127.0.0.1:")
    assert (right.status, nobody.status) == (200, 401)
    assert log.seen == ["starting", "ready", "draining", "stopped"]
    assert not list(given.site.keys.iterdir())


async def test_somebody_else_on_the_port_is_not_taken_for_the_engine(tmp_path: Path) -> None:
    """Who took the port first would get the key with the first probe, and the prompts after it."""
    given = launch(tmp_path, "does-not-listen", command=ON_PORT, start_deadline_s=2)
    stranger = EngineThatNotesItsCallers()
    with states() as log:
        task = asyncio.create_task(launcher.run(given, asyncio.Event()))
        await log.until("starting")
        port = loopback_port.of(registered(given).endpoint)
        async with listening_on_port(stranger, port or 0):
            with pytest.raises(
                EngineFailed, match="not ready within 2 s: a process that is not of"
            ):
                await task

    assert stranger.callers == []
    assert registered(given).state is InstanceState.FAILED


async def test_an_engine_whose_port_was_taken_fails_and_says_so(tmp_path: Path) -> None:
    """The engine binds the port itself, finds it taken and ends."""
    stranger = EngineThatNotesItsCallers()
    async with listening_on_port(stranger) as port:
        command = [str(port) if part == "{port}" else part for part in ON_PORT] + ["{port}"]
        given = launch(tmp_path, command=command)
        with pytest.raises(EngineFailed, match="ended by itself with status 1"):
            await launcher.run(given, asyncio.Event())

    assert stranger.callers == []
    assert "address already in use" in (given.site.logs / "instance.log").read_text()


async def test_an_engine_on_a_port_that_wants_no_key_is_never_ready(tmp_path: Path) -> None:
    given = launch(tmp_path, "open-to-everybody", command=ON_PORT)

    with pytest.raises(EngineFailed, match="answers /complete to callers without its key"):
        await launcher.run(given, asyncio.Event())
    assert registered(given).state is InstanceState.FAILED


async def test_an_engine_on_a_port_needs_a_probe_to_show_its_key(tmp_path: Path) -> None:
    given = launch(tmp_path, command=ON_PORT, probes={})

    with pytest.raises(ConfigurationError, match="no probe for any route"):
        await launcher.run(given, asyncio.Event())


async def test_an_engine_may_be_probed_with_a_form(tmp_path: Path) -> None:
    given = launch(
        tmp_path,
        paths={"/v1/completions": "/transcribe"},
        probes={"completions": {"form": {"language": "en"}, "silence": "file"}},
    )
    stop = asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        stop.set()
        await task

    assert log.seen == ["starting", "ready", "draining", "stopped"]


async def test_a_route_that_the_engine_does_not_have_is_refused(tmp_path: Path) -> None:
    given = launch(tmp_path)
    model = dataclasses.replace(given.model, routes=("completions", "rerank"))

    with pytest.raises(ConfigurationError, match="small has no 'rerank'; it has chat/completions"):
        await launcher.run(dataclasses.replace(given, model=model), asyncio.Event())


async def test_the_heartbeat_goes_on(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        first = registered(given).heartbeat
        await eventually(lambda: registered(given).heartbeat != first, seconds=30)
        stop.set()
        await task


async def test_a_disk_s_bad_moment_does_not_end_a_good_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    away = given.site.root / "away"
    with states() as log:
        task = await running(given, stop, log)
        given.site.instances.rename(away)
        await eventually(lambda: "registration_unwritten" in caplog.text, seconds=30)
        away.rename(given.site.instances)
        stop.set()
        await task

    assert log.seen[-1] == "stopped"
    assert registered(given).state is InstanceState.STOPPED


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a b", "-x"])
def test_a_name_that_can_be_no_file_s_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--engine", str(write_engine(tmp_path)), "--model", str(write_model(tmp_path))]

    with pytest.raises(SystemExit):
        launcher.main([*files, "--site-dir", str(tmp_path), f"--name={name}"])
    assert "is no name" in capsys.readouterr().err


async def test_the_key_is_in_no_argument_and_no_log(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        key = read(registered(given).api_key_file)
        arguments = read(f"/proc/{engine_pid(given)}/cmdline")
        stop.set()
        await task

    assert key
    assert key not in arguments
    assert key not in (given.site.logs / "instance.log").read_text()
    assert key not in (given.site.instances / "instance.json").read_text()


async def test_the_engine_gets_no_other_variable_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "the site's secret")
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        environment = read(f"/proc/{engine_pid(given)}/environ").split("\0")
        stop.set()
        await task

    names = {variable.partition("=")[0] for variable in environment if variable}
    assert names <= {"PATH", "HOME", "SMALL_ENGINE_KEY", "WHERE", "LC_CTYPE"}
    assert f"WHERE={Path(registered(given).endpoint).parent}" in environment


@pytest.mark.parametrize(
    ("behaviour", "changes", "reason"),
    [
        ("ends-at-once", {}, "ended by itself with status 3"),
        (
            "healthy-but-mute",
            # The engine must have started by then, on a busy machine too.
            {"start_deadline_s": 6},
            "not ready within 6 s: POST /complete: status 500",
        ),
        (
            "does-not-listen",
            {"start_deadline_s": 1},
            "not ready within 1 s: GET /health: nobody answers",
        ),
        ("ends-after-start", {}, "ended by itself with status 7"),
        ("sick-after-start", {}, "3 health probes in a row failed: GET /health: status 503"),
    ],
)
async def test_an_engine_that_fails_is_registered_with_the_reason(
    tmp_path: Path, behaviour: str, changes: dict[str, float], reason: str
) -> None:
    given = launch(tmp_path, behaviour, **changes)

    with pytest.raises(EngineFailed, match=reason):
        await launcher.run(given, asyncio.Event())

    assert registered(given).state is InstanceState.FAILED
    assert reason in registered(given).detail
    assert_nothing_is_left(given)


@pytest.mark.parametrize(
    ("behaviour", "hint"),
    [
        ("open-to-the-network", "nobody listens on its port of 127.0.0.1; the engine must bind"),
        (
            "reads-before-it-asks-for-the-key",
            "POST /complete without the key: status 422; the engine must refuse it with 401 or 403",
        ),
    ],
)
async def test_an_engine_on_a_port_that_can_never_be_ready_says_why(
    tmp_path: Path, behaviour: str, hint: str
) -> None:
    given = launch(tmp_path, behaviour, command=ON_PORT, start_deadline_s=3)

    with pytest.raises(EngineFailed, match=f"not ready within 3 s: {hint}"):
        await launcher.run(given, asyncio.Event())
    assert hint in registered(given).detail


async def test_a_failure_names_the_log_to_the_operators_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = launch(tmp_path, "does-not-listen", start_deadline_s=1)
    with caplog.at_level("INFO", "hotnode.launcher"), pytest.raises(EngineFailed):
        await launcher.run(given, asyncio.Event())
    monkeypatch.setenv(VARIABLE, str(given.site.root))

    log_file = given.site.logs / "instance.log"
    assert registered(given).log_file == str(log_file)
    assert f"instance_failed name=instance log={log_file}" in caplog.text
    public = json.dumps(instances.site_status({"v": 1}))
    assert "not ready within 1 s" in public
    assert str(tmp_path) not in public


async def test_an_engine_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, "ignores-sigterm", stop_grace_s=0.2), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        pid = engine_pid(given)
        stop.set()
        await task

    assert log.seen[-1] == "stopped"
    assert processes.started(pid) is None
    assert_nothing_is_left(given)


async def test_the_engine_s_workers_end_with_it(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, "has-a-worker"), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        worker = int((given.site.logs / "instance.log").read_text().split()[1])
        assert processes.started(worker) is not None
        stop.set()
        await task

    # Its parent is gone: the host's first process reaps it when it likes.
    await eventually(lambda: processes.started(worker) is None, seconds=10)


async def test_a_stop_during_the_start_is_obeyed(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, "healthy-but-mute"), asyncio.Event()
    with states() as log:
        task = asyncio.create_task(launcher.run(given, stop))
        await log.until("starting")
        stop.set()
        await task

    assert log.seen == ["starting", "draining", "stopped"]
    assert_nothing_is_left(given)


async def test_an_engine_that_was_never_ready_is_given_seconds_to_end(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, "mute-and-deaf", stop_grace_s=1000), asyncio.Event()
    with states() as log:
        task = asyncio.create_task(launcher.run(given, stop))
        await log.until("starting")
        await eventually(Path(registered(given).endpoint).exists)
        pid = engine_pid(given)
        stop.set()
        await asyncio.wait_for(task, 60)

    assert log.seen == ["starting", "draining", "stopped"]
    assert processes.started(pid) is None
    assert_nothing_is_left(given)


async def test_a_stop_does_not_wait_for_a_probe(tmp_path: Path) -> None:
    given, stop = launch(tmp_path, "keeps-the-probe"), asyncio.Event()
    output = given.site.logs / "instance.log"
    with states() as log:
        task = asyncio.create_task(launcher.run(given, stop))
        await log.until("starting")
        await eventually(lambda: output.exists() and "keeping the probe" in output.read_text())
        stop.set()
        await asyncio.wait_for(task, 0.75 * WORK_TIMEOUT_S)

    assert log.seen == ["starting", "draining", "stopped"]
    assert_nothing_is_left(given)


async def test_a_second_launcher_of_the_same_name_is_refused(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    with states() as log:
        task = await running(given, stop, log)
        with pytest.raises(AlreadyRunning):
            await launcher.run(given, asyncio.Event())
        assert registered(given).state is InstanceState.READY
        stop.set()
        await task


async def test_what_a_killed_launcher_left_is_replaced(tmp_path: Path) -> None:
    given, stop = launch(tmp_path), asyncio.Event()
    command = [
        *(sys.executable, "-m", "compute_functions.launcher"),
        *("--engine", str(write_engine(tmp_path)), "--model", str(write_model(tmp_path))),
        *("--site-dir", str(given.site.root), "--runtime-dir", str(tmp_path)),
        *("--name", "instance"),
    ]
    with states() as log:
        first = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, cwd=Path(launcher.__file__).parents[1]
        )
        assert first.stderr is not None
        async with asyncio.timeout(60):
            while b"instance_ready" not in (line := await first.stderr.readline()):
                assert line, "the launcher ended"
        orphan = engine_pid(given)
        first.kill()
        await first.communicate()
        assert registered(given).state is InstanceState.READY

        task = await running(given, stop, log)
        stop.set()
        await task

    assert processes.started(orphan) is None, "the engine outlived its launcher"
    assert_nothing_is_left(given)


async def test_the_command_ends_well_on_sigterm(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "compute_functions.launcher"),
        *("--engine", str(write_engine(tmp_path)), "--model", str(write_model(tmp_path))),
        *("--site-dir", str(tmp_path / "site"), "--runtime-dir", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(launcher.__file__).parents[1],
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"instance_ready" not in (line := await process.stderr.readline()):
            assert line, "the launcher ended"
        process.send_signal(signal.SIGTERM)
        said = (await process.communicate())[1]

    assert process.returncode == 0
    assert b"instance_stopped name=vendor--model" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--api-key", "x"), "--api-key is not the model's to set"),
        (("--api_key=x",), "--api-key is not the model's to set"),
        (("--sock", "x"), "--socket is not the model's to set"),
    ],
)
async def test_a_model_cannot_take_over_what_the_launcher_sets(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        await launcher.run(launch(tmp_path, *arguments), asyncio.Event())


async def test_a_model_for_another_engine_is_refused(tmp_path: Path) -> None:
    given = launch(tmp_path)
    model = dataclasses.replace(given.model, engine="large")

    with pytest.raises(ConfigurationError, match="the model is for 'large', this is 'small'"):
        await launcher.run(dataclasses.replace(given, model=model), asyncio.Event())


async def test_a_model_must_give_what_the_engine_needs(tmp_path: Path) -> None:
    reason = "without it the engine takes all memory"
    given = launch(tmp_path, required_arguments={"--memory": reason})

    with pytest.raises(ConfigurationError, match=f"--memory is needed: {reason}"):
        await launcher.run(given, asyncio.Event())


async def test_an_engine_that_is_not_installed_is_named(tmp_path: Path) -> None:
    command = ["/no/such/engine", "{socket}", "{model}", "{model_path}"]

    with pytest.raises(ConfigurationError, match="no program /no/such/engine"):
        await launcher.run(launch(tmp_path, command=command), asyncio.Event())


async def test_engines_dir_must_be_told_when_the_command_needs_it(tmp_path: Path) -> None:
    command = ["{engines_dir}/e", "{socket}", "{model}", "{model_path}"]

    with pytest.raises(ConfigurationError, match="HOTNODE_ENGINES_DIR"):
        await launcher.run(launch(tmp_path, command=command), asyncio.Event())


async def test_a_socket_path_that_is_too_long_is_refused_with_the_remedy(tmp_path: Path) -> None:
    given = dataclasses.replace(launch(tmp_path), runtime_root=tmp_path / ("d" * 100))

    with pytest.raises(ConfigurationError, match="give a shorter --runtime-dir"):
        await launcher.run(given, asyncio.Event())


async def test_a_runtime_folder_that_others_can_enter_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / f"hotnode-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"hotnode-{os.getuid()}").chmod(0o777)

    with pytest.raises(ConfigurationError, match="not a folder that is only ours"):
        await launcher.run(launch(tmp_path), asyncio.Event())


def test_a_wrong_file_ends_the_command_with_status_2(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, model = write_engine(tmp_path, framework=None), write_model(tmp_path)
    arguments = ["--engine", str(engine), "--model", str(model), "--site-dir", str(tmp_path)]

    assert launcher.main(arguments) == 2
    assert "small.yaml, line" in caplog.text
