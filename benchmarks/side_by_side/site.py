"""The cluster's side: a directory, its enrolment, and one instance that the launcher runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lab import engine as lab_engine
from lab.processes import Child, Command, output_of, running
from lab.recipes import ENGINES
from lab.stand_in import clean_environment
from lab.system.loopback import free_port
from side_by_side.processes import descendants

#: The one name that everything asked for has, so that the same load suits all.
MODEL = "model"
FRAMEWORK = "vllm"
BENCHMARKS = Path(__file__).parents[1]
SHORT_S = 60.0
READY_WITHIN_S = 330.0
#: Longer than the engine files below give an engine (seconds).
LAUNCHER_GRACE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a launcher wants to know of an engine.

    The mock listens on a port beside its socket, and writes its process's id; vLLM is given a port.
    """

    engine_file: Path
    model_file: Path
    port: int = 0
    pid_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running engine and its launcher, in which a relay may be; the key may be nothing."""

    port: int
    key_file: Path | None
    engine_pids: tuple[int, ...]
    launcher_pid: int

    @property
    def url(self) -> str:
        """Where those reach it who dial it directly."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """What opens it."""
        return self.key_file.read_text(encoding="ascii").strip() if self.key_file else "unused"


def mock_engine(folder: Path, *, lockstep: bool) -> Engine:
    """Return the mock engine, as a site's operators would describe it."""
    port, pid_file = free_port(), folder / "engine.pid"
    command = [sys.executable, "-m", "side_by_side.engine", "--socket", "{socket}"]
    command += ["--port", str(port), "--pid-file", str(pid_file)]
    command += ["--model", "{model}", "{model_path}", *(["--lockstep"] if lockstep else [])]
    config = {
        "framework": FRAMEWORK,
        "command": command,
        "api_key_variable": "MOCK_API_KEY",
        "environment": {"PYTHONPATH": str(BENCHMARKS)},
        "inherited": ["PATH", "HOME"],
        "paths": ["/v1/chat/completions"],
        "health_path": "/health",
        "probes": {},
        "watch_every_s": 5,
        "start_deadline_s": 60,
        "drain_s": 0.1,
        "stop_grace_s": 10,
        "required_arguments": {},
        "reserved_arguments": [],
    }
    model = {"id": MODEL, "engine": "mock", "path": str(folder), "routes": ["chat/completions"]}
    return Engine(
        engine_file=_written(folder / "engines" / "mock.yaml", config),
        model_file=_written(folder / "engines" / "model.yaml", model),
        port=port,
        pid_file=pid_file,
    )


def real_engine(folder: Path) -> Engine:
    """Return vLLM with the tiny model, on a port, so that everybody here can dial it."""
    known = lab_engine.Model.named(lab_engine.CHAT)
    config: dict[str, Any] = yaml.safe_load(
        (lab_engine.CONFIGS / "engines" / f"{known.engine}.yaml").read_text(encoding="utf-8")
    )
    at = config["command"].index("--uds")
    config["command"][at : at + 2] = ["--host", "127.0.0.1", "--port", "{port}"]
    model: dict[str, Any] = yaml.safe_load(known.file.read_text(encoding="utf-8"))
    model |= {"id": MODEL, "path": str((known.file.parent / model["path"]).resolve())}
    for name in ("deployments", "aliases", "description"):
        model.pop(name, None)
    return Engine(
        engine_file=_written(folder / "engines" / f"{known.engine}.yaml", config),
        model_file=_written(folder / "engines" / "model.yaml", model),
    )


class Site:
    """A site's directory, enrolled at some hubs, and the instance that runs there."""

    def __init__(self, folder: Path, engine: Engine, *, hubs: int) -> None:
        self.folder = folder
        self.directory = folder / "site"
        self.engine = engine
        self.relay_ports = [free_port() for _ in range(hubs)]

    async def enrol(self, cluster: str) -> str:
        """Enrol at all hubs; return the public key."""
        hubs = [f"--hub=http://127.0.0.1:{port}" for port in self.relay_ports]
        command = Command(
            name="the enrolment",
            arguments=[
                *(sys.executable, "-m", "compute_functions.enrol", "--insecure"),
                *("--site-dir", str(self.directory), "--cluster", cluster, *hubs),
            ],
            log=self.folder / "enrol.log",
            environment=clean_environment(),
        )
        said = await output_of(command, within_s=SHORT_S)
        return said.split('"')[1]

    @asynccontextmanager
    async def launched(self) -> AsyncIterator[Instance]:
        """Run engine, launcher and, if enrolled, relay beside the body, once they are ready."""
        command = Command(
            name="the launcher",
            arguments=[
                *(sys.executable, "-m", "compute_functions.launcher"),
                *("--engine", str(self.engine.engine_file)),
                *("--model", str(self.engine.model_file)),
                *("--site-dir", str(self.directory), "--engines-dir", str(ENGINES)),
            ],
            log=self.folder / "launcher.log",
            environment=clean_environment(),
            grace_s=LAUNCHER_GRACE_S,
        )
        async with running(command) as child:
            registered = partial(lab_engine.registration, self.directory, MODEL)
            await child.until(lambda: registered().get("state") == "ready", within_s=READY_WITHIN_S)
            yield self._instance(child, registered())

    def _instance(self, child: Child, registration: Mapping[str, Any]) -> Instance:
        if self.engine.pid_file is not None:
            return Instance(
                port=self.engine.port,
                key_file=None,
                engine_pids=(int(self.engine.pid_file.read_text(encoding="ascii")),),
                launcher_pid=child.pid,
            )
        launcher, *engine = descendants(child.pid)
        return Instance(
            port=int(registration["endpoint"].rsplit(":", 1)[1]),
            key_file=Path(registration["api_key_file"]),
            engine_pids=tuple(engine),
            launcher_pid=launcher,
        )


def _written(file: Path, values: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file
