"""The job of an instance, with a real engine and without a scheduler: its life and its ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import jwt
import pytest

from compute_functions import engine_probe, instances, processes
from compute_functions.contract import FOR_BATCHES, InstanceState
from compute_functions.contract.instances import Stage
from compute_functions.engine_client import Call
from compute_functions.orders import Order
from lab.processes import Child
from tests.support.asking_hub import Asked, HubThatAsks, hub_that_asks
from tests.support.eventually import eventually
from tests.support.gpu_programs import ProgramsThatTellGpuUse
from tests.support.ordered_jobs import INSTANCE, MODEL, PATH, OrderedSite, engine_of

SLURM = {"SLURM_JOB_ID": "77", "SLURMD_NODENAME": "n-1", "PATH": "/nonexistent"}


def asking(tokens: int, every_s: float) -> bytes:
    return json.dumps({"model": MODEL, "tokens": tokens, "every_s": every_s}).encode()


def whole(tokens: int) -> bytes:
    events = [f'data: {{"n": {number}}}\n\n' for number in range(1, tokens + 1)]
    return "".join([*events, "data: [DONE]\n\n"]).encode()


def log_of(ordered: OrderedSite) -> str:
    return (ordered.site.logs / f"{INSTANCE}.job.log").read_text()


async def linked(ordered: OrderedSite, child: Child, hub: HubThatAsks) -> None:
    await ordered.ready(child)
    await hub.linked()


async def streaming(hub: HubThatAsks, tokens: int, every_s: float) -> Asked:
    """Return a stream that is under way."""
    asked = await hub.ask(asking(tokens, every_s), path=PATH)
    await asked.until(10)
    return asked


@pytest.mark.row("L-19")
async def test_callers_ask_by_its_id_for_a_model_whose_weights_the_site_has_staged(
    tmp_path: Path,
) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job(environment=SLURM) as child:
        found = await ordered.ready(child)
        answers = [
            await engine_of(found).send(Call(path=PATH, body=body, timeout_s=10, max_bytes=1000))
            for body in (b'{"model": "vendor/model"}', b'{"model": "weights"}')
        ]
        ordered.tell()
        assert await child.left(within_s=30) == 0

    said, refused = answers
    assert json.loads(said.body)["weights"] == str(tmp_path / "weights")
    assert json.loads(said.body)["text"] == "the weights"
    assert (said.status, refused.status) == (200, 404)
    assert found.to_instance().model == MODEL


@pytest.mark.row("L-20", "L-22")
async def test_an_ordered_instance_registers_all_that_a_site_tells_of_it(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    order = ordered.order()
    before = time.time()
    async with ordered.job(environment={"CUDA_VISIBLE_DEVICES": "4,5"}) as child:
        found = await ordered.ready(child)
        asked = Call(path=PATH, body=b'{"model": "vendor/model"}', timeout_s=10, max_bytes=1000)
        said = json.loads((await engine_of(found).send(asked)).body)
        ordered.tell()
        assert await child.left(within_s=30) == 0

    assert (found.name, found.model, found.job_id) == (INSTANCE, MODEL, f"pid-{found.pid}")
    assert (found.gpus, found.walltime_s, found.submitted_at) == (2, 600.0, order.submitted_at)
    assert found.node == found.host == socket.gethostname()
    assert found.ready_at is not None
    assert before < found.started_at < found.ready_at
    assert found.ends_at is not None
    assert abs(found.ends_at - found.started_at - 600) < 1
    assert found.heartbeat_s == 0.2
    assert said["gpus"] == "4,5"
    last = ordered.registered()
    assert (last.state, last.stage) == (InstanceState.STOPPED, None)
    assert last.detail == "its site lets it drain"
    ordered.nothing_is_left()
    public = last.to_instance()
    assert (public.name, public.gpus, public.ends_at) == (INSTANCE, 2, last.ends_at)


@pytest.mark.row("L-14")
async def test_how_busy_its_own_gpus_are_is_told_while_it_lives(tmp_path: Path) -> None:
    programs = ProgramsThatTellGpuUse(folder=tmp_path / "bin")
    programs.nvidia(1, 2, 3, 4, 60, 80)
    ordered = OrderedSite.made(tmp_path)
    ordered.order(gpus=2)
    given = {"CUDA_VISIBLE_DEVICES": "4,5", "PATH": f"{programs.folder}:{os.environ['PATH']}"}
    async with ordered.job(environment=given) as child:
        await child.until(
            lambda: ordered.state() != "" and ordered.registered().gpu_percent is not None,
            within_s=30,
        )
        assert ordered.registered().gpu_percent == 70.0
        await ordered.ready(child)
        assert ordered.registered().to_instance().gpu_percent == 70.0
        ordered.tell()
        assert await child.left(within_s=30) == 0

    assert ordered.registered().to_instance().gpu_percent is None


@pytest.mark.row("L-14")
async def test_an_instance_whose_gpus_nobody_can_ask_lives_as_ever(tmp_path: Path) -> None:
    programs = ProgramsThatTellGpuUse(folder=tmp_path / "bin")
    programs.prints("nvidia-smi", "NVIDIA-SMI has failed\n", status=9)
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    given = {"PATH": f"{programs.folder}:{os.environ['PATH']}"}
    async with ordered.job(environment=given) as child:
        await ordered.ready(child)
        await child.until(lambda: "gpu_use_unknown" in log_of(ordered), within_s=30)
        assert ordered.registered().gpu_percent is None
        assert ordered.state() == "ready"


@pytest.mark.row("C-6")
async def test_the_stages_of_a_start_are_told_in_their_order(tmp_path: Path) -> None:
    ordered = OrderedSite.made(
        tmp_path,
        arguments=["--load-s", "0.5"],
        copy_weights=True,
        job={"local_weights_dir": str(tmp_path / "local")},
    )
    ordered.order()
    async with ordered.job() as child:
        await child.until(
            lambda: ordered.state() != "" and ordered.registered().stage is Stage.ENGINE,
            within_s=30,
        )
        await ordered.ready(child)

    events = [line.split()[3] for line in log_of(ordered).splitlines() if INSTANCE in line]
    stages = [event for event in events if event.startswith(("stage_", "instance_"))]
    assert stages == [
        *("instance_starting", "stage_weights", "stage_engine", "stage_warmup"),
        *("instance_ready", "instance_draining", "instance_stopped"),
    ]


async def test_a_stream_under_way_ends_whole_however_long_it_is(tmp_path: Path) -> None:
    """It outlasts the engine's own grace by far."""
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, stop_grace_s=1).enrolled(address)
        ordered.order()
        ordered.vouch("77")
        async with ordered.job(environment=SLURM) as child:
            await linked(ordered, child, hub)
            under_way = await streaming(hub, 40, 0.1)
            ordered.tell(until=time.time() + 60)
            await hub.until(hub.drained.is_set)
            await child.until(lambda: ordered.state() == "draining", within_s=30)
            refused = await hub.ask(asking(1, 0), path=PATH)
            assert (await refused.failed()).code == "draining"
            assert await under_way.whole() == whole(40)
            assert await child.left(within_s=30) == 0

    assert ordered.state() == "stopped"
    ordered.nothing_is_left()


async def test_a_later_word_shortens_what_streams_may_take(tmp_path: Path) -> None:
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, stop_grace_s=0.5).enrolled(address)
        ordered.order()
        ordered.vouch("77")
        async with ordered.job(environment=SLURM) as child:
            await linked(ordered, child, hub)
            under_way = await streaming(hub, 10_000, 0.1)
            ordered.tell()
            await hub.until(hub.drained.is_set)
            ordered.tell(until=time.time())
            assert (await under_way.failed()).code == "engine_broke_off"
            assert await child.left(within_s=30) == 0

    assert "streams_outlast_the_drain count=1" in log_of(ordered)


@pytest.mark.row("L-15", "L-16")
async def test_requests_that_came_another_way_are_waited_for_too(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path, stop_grace_s=0.5)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        call = Call(path=PATH, body=asking(30, 0.1), timeout_s=30, max_bytes=100_000)
        asked = asyncio.create_task(engine_of(found).send(call))
        await child.until(lambda: ordered.registered().running == 1, within_s=30)
        assert ordered.registered().in_flight == 1
        ordered.tell()
        assert (await asked).body == whole(30)
        assert await child.left(within_s=30) == 0


async def test_an_instance_for_batches_has_no_way_in_for_callers(tmp_path: Path) -> None:
    """Whoever could vouch for it: it dials no hub, and has no door."""
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, job={"task_host": "127.0.0.1"}).enrolled(address)
        ordered.order(purpose=FOR_BATCHES)
        ordered.vouch("77")
        async with ordered.job(environment=SLURM) as child:
            found = await ordered.ready(child)
            # Its load is read by the same part that would dial first.
            await child.until(lambda: ordered.registered().in_flight is not None, within_s=30)
            ordered.tell()
            assert await child.left(within_s=30) == 0
        assert hub.tokens == []

    assert (found.purpose, found.to_instance().purpose, found.door) == (FOR_BATCHES,) * 2 + ("",)


async def test_an_instance_whose_order_is_gone_ends(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        await ordered.ready(child)
        Order.file(ordered.site, INSTANCE).unlink()
        assert await child.left(within_s=30) == 0

    assert ordered.registered().detail == "its order is gone"


async def test_a_disk_that_loses_sight_of_all_orders_ends_nobody(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        ordered.site.orders.rename(tmp_path / "away")
        later = found.heartbeat + 5
        await child.until(lambda: ordered.registered().heartbeat > later, within_s=30)
        (tmp_path / "away").rename(ordered.site.orders)
        assert ordered.state() == "ready"


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGTERM, "the scheduler ends it"),
        (signal.SIGUSR1, "the scheduler warns of its end"),
    ],
)
async def test_signals_of_the_scheduler_are_obeyed(
    tmp_path: Path, number: signal.Signals, why: str
) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        await ordered.ready(child)
        os.kill(child.pid, number)
        assert await child.left(within_s=30) == 0

    assert (ordered.state(), ordered.registered().detail) == ("stopped", why)


async def test_a_signal_for_the_whole_job_is_no_failure_of_the_engine(tmp_path: Path) -> None:
    """Schedulers signal every process of a job: the engine ends as soon as we do."""
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        engine = [pid for pid in map(int, _pids()) if _parent(pid) == found.pid]
        for pid in (child.pid, *engine):
            os.kill(pid, signal.SIGTERM)
        assert await child.left(within_s=30) == 0

    assert ordered.state() == "stopped"


@pytest.mark.row("L-22")
async def test_the_end_of_its_walltime_is_learnt_from_the_scheduler(tmp_path: Path) -> None:
    """An operator moves the end of a job; a stream under way ends whole before it."""
    end = tmp_path / "end"
    end.write_text(str(int(time.time()) + 500))
    programs = tmp_path / "bin"
    programs.mkdir()
    scontrol = programs / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "JobId=$4 EndTime=$(cat {end}) Comment=x"\n')
    scontrol.chmod(0o755)
    environment = SLURM | {"PATH": f"{programs}:{os.environ['PATH']}"}
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path, job={"drain_before_s": 20}).enrolled(address)
        ordered.order()
        ordered.vouch("77")
        async with ordered.job(environment=environment) as child:
            await linked(ordered, child, hub)
            told = int(end.read_text())
            await child.until(lambda: ordered.registered().ends_at == told, within_s=30)
            under_way = await streaming(hub, 30, 0.1)
            moved = int(time.time()) + 18
            end.write_text(str(moved))
            await hub.until(hub.drained.is_set)
            assert ordered.registered().ends_at == moved
            assert await under_way.whole() == whole(30)
            assert await child.left(within_s=30) == 0

    assert ordered.registered().detail == "its walltime is nearly over"
    assert (ordered.registered().job_id, ordered.registered().node) == ("77", "n-1")


async def test_a_relay_is_handed_its_credentials_and_says_how_many_are_left(
    tmp_path: Path,
) -> None:
    async with hub_that_asks() as (hub, address):
        ordered = OrderedSite.made(tmp_path).enrolled(address)
        ordered.order()
        async with ordered.job(environment=SLURM) as child:
            await ordered.ready(child)
            given = ordered.vouch("77", count=2)  # Later than it is wanted.
            await hub.linked()
            hub.restart()
            hub.refusals.append(401)  # The session is of the hub before.
            await hub.linked(2)
            await child.until(lambda: ordered.registered().credentials_left == 0, within_s=30)
            ordered.vouch("77", count=3)
            await child.until(lambda: ordered.registered().credentials_left == 3, within_s=30)

    assert (hub.tokens[0], hub.tokens[-1]) == given
    claims = jwt.decode(hub.tokens[0], options={"verify_signature": False})
    assert (claims["sub"], claims["job"], claims["iss"]) == (INSTANCE, "77", "alpha")


async def test_an_engine_that_sickens_fails_while_the_heartbeat_goes_on(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        sicken = Call(path="/v1/sicken", timeout_s=10, max_bytes=1000)
        await engine_of(found).send(sicken)
        assert await child.left(within_s=30) == 1

    last = ordered.registered()
    assert last.state is InstanceState.FAILED
    assert "3 health probes in a row failed: GET /health: status 503" in last.detail
    assert last.healthy_at is not None
    assert last.healthy_at < last.heartbeat


async def test_a_stop_during_the_load_is_obeyed(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path, arguments=["--load-s", "600"])
    ordered.order()
    async with ordered.job() as child:
        await child.until(
            lambda: ordered.state() != "" and ordered.registered().stage is Stage.ENGINE,
            within_s=30,
        )
        ordered.tell()
        assert await child.left(within_s=30) == 0
    assert ordered.state() == "stopped"


def _engine_of(pid: int) -> int:
    """Return the process of the engine that process `pid` started."""
    (engine,) = [child for child in map(int, _pids()) if _parent(child) == pid]
    return engine


def last_well(ordered: OrderedSite) -> float:
    return ordered.registered().healthy_at or 0.0


def _is_told_to_end(pid: int) -> bool:
    """Whether a process that was stopped has a SIGTERM waiting for it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (pending,) = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd")]
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


async def test_an_end_does_not_wait_for_a_health_probe(tmp_path: Path) -> None:
    """An engine that hangs takes the probe's whole time, which a scheduler may not give."""
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        os.kill(_engine_of(found.pid), signal.SIGSTOP)
        # A probe is under way.
        await eventually(lambda: ordered.registered().heartbeat - last_well(ordered) > 1)
        ordered.tell(until=time.time())
        soon = 0.7 * engine_probe.HEALTH_TIMEOUT_S
        await child.until(lambda: ordered.state() == "draining", within_s=soon)


async def test_a_signal_cuts_short_what_a_deaf_engine_has_to_end(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path, stop_grace_s=1000, job={"kill_wait_s": 2})
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        engine = _engine_of(found.pid)
        os.kill(engine, signal.SIGSTOP)
        ordered.tell(until=time.time())
        await child.until(lambda: _is_told_to_end(engine), within_s=60)
        os.kill(child.pid, signal.SIGTERM)
        await child.left(within_s=60)

    assert processes.started(engine) is None
    ordered.nothing_is_left()


async def test_without_an_order_there_is_no_instance(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    async with ordered.job() as child:
        assert await child.left(within_s=30) == 2
    assert ordered.state() == ""
    assert f"{INSTANCE}.json cannot be read" in log_of(ordered)


async def test_files_that_are_wrong_are_registered_without_their_paths(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order(model="vendor/other")
    async with ordered.job(environment=SLURM) as child:
        assert await child.left(within_s=30) == 2

    found = ordered.registered()
    assert (found.state, found.job_id, found.gpus) == (InstanceState.FAILED, "77", 2)
    assert "a file or setting of the site is wrong" in found.detail
    assert str(tmp_path) not in found.detail
    assert "the order is of vendor/other" in log_of(ordered)


async def test_weights_outside_the_site_s_roots_are_refused(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    file = tmp_path / "models" / "model.yaml"
    file.write_text(file.read_text().replace("../weights", "../engines"))
    ordered.order()
    async with ordered.job() as child:
        assert await child.left(within_s=30) == 2
    assert "is below no weight_roots" in log_of(ordered)


async def test_a_mistake_that_shows_late_is_registered_as_well(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    file = tmp_path / "models" / "model.yaml"
    file.write_text(file.read_text().replace("- completions", "- rerank"))
    ordered.order()
    async with ordered.job() as child:
        assert await child.left(within_s=30) == 2
    assert ordered.state() == "failed"
    assert "lifecycle has no 'rerank'" in log_of(ordered)


async def test_an_engine_that_is_not_there_is_a_failure_too(tmp_path: Path) -> None:
    ordered = OrderedSite.made(
        tmp_path, command=["/no/such/engine", "{socket}", "{model}", "{model_path}"]
    )
    ordered.order()
    async with ordered.job() as child:
        assert await child.left(within_s=30) == 2
    assert ordered.state() == "failed"


async def test_a_killed_job_takes_its_engine_along_and_is_seen_to_be_gone(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    ordered.order()
    async with ordered.job() as child:
        found = await ordered.ready(child)
        engine = [pid for pid in map(int, _pids()) if _parent(pid) == found.pid]
        assert engine
        os.kill(child.pid, signal.SIGKILL)
        await child.left(within_s=30)
        await eventually(lambda: not any(processes.started(pid) for pid in engine))

    assert ordered.registered().state is InstanceState.READY
    (seen,) = instances.observed(ordered.site, time.time())
    assert (seen.state, seen.detail) == (InstanceState.FAILED, "its launcher is gone")


def _pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[1])
