"""A site with one model and the lifecycle engine, and jobs of it, run without a scheduler."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compute_functions import enrol
from compute_functions.control import Control
from compute_functions.engine_client import Engine
from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.relay.credentials import Claims, signed
from compute_functions.relay.enrolment import key_file
from compute_functions.relay.handed_credentials import CredentialFile
from compute_functions.site import SiteDirectory
from lab import lifecycle_engine
from lab.processes import Child, Command, running
from lab.stand_in import clean_environment

MODEL, FRAMEWORK, PATH = "vendor/model", "vllm", "/v1/completions"
INSTANCE = "vendor-model-00000001"
_WITHIN_S = 60.0

ENGINE: dict[str, Any] = {
    "framework": FRAMEWORK,
    "command": [
        *(sys.executable, "-P", lifecycle_engine.__file__),
        *("--socket", "{socket}", "--model", "{model}", "--weights", "{model_path}"),
    ],
    "api_key_variable": "LIFECYCLE_ENGINE_KEY",
    "environment": {},
    "inherited": ["PATH", "HOME", "CUDA_VISIBLE_DEVICES"],
    "paths": [PATH, "/v1/sicken"],
    "health_path": "/health",
    "load": {"path": "/metrics", "running": "running", "waiting": "waiting"},
    "probes": {"completions": {"body": {}}},
    "watch_every_s": 0.2,
    "start_deadline_s": 60,
    "drain_s": 0.1,
    "stop_grace_s": 10,
    "required_arguments": {},
    "reserved_arguments": ["--socket"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedSite:
    """A site whose files all stand in `folder`."""

    folder: Path
    site: SiteDirectory

    @classmethod
    def made(cls, folder: Path, *, copy_weights: bool = False, **changes: Any) -> OrderedSite:
        """Write the files; `changes` are of the engine's, or of the sections `job` and `limits`."""
        site = SiteDirectory(folder / "site")
        site.prepare()
        for name in ("engines", "models", "weights"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "weights" / "weights.bin").write_text("the weights")
        job = {"runtime_dir": str(folder), "walltime_every_s": 0.5} | changes.pop("job", {})
        limits = {"gpus": 4, "walltime_s": 7200, "jobs": 8, "heartbeat_s": 0.2}
        values = {
            "cluster": "alpha",
            "scheduler": "slurm",
            "provider": {},
            "job": job,
            "models": {
                "engine_files": str(folder / "engines"),
                "engines": ["lifecycle"],
                "model_files": [str(folder / "models")],
                "weight_roots": [str(folder / "weights")],
            },
            "limits": limits | changes.pop("limits", {}),
        }
        model = {
            "id": MODEL,
            "engine": "lifecycle",
            "routes": ["completions"],
            "path": "../weights",
            "arguments": changes.pop("arguments", []),
            "copy_weights": copy_weights,
        }
        _write(site.root / "site.yaml", values)
        _write(folder / "engines" / "lifecycle.yaml", ENGINE | changes)
        _write(folder / "models" / "model.yaml", model)
        return cls(folder=folder, site=site)

    def enrolled(self, hub: str) -> OrderedSite:
        """Enrol it at a hub."""
        arguments = ["--site-dir", str(self.site.root), "--cluster", "alpha", "--insecure"]
        assert enrol.main([*arguments, "--hub", hub]) == 0
        return self

    def order(self, instance: str = INSTANCE, **changes: Any) -> Order:
        """Write an order, as the agent does before it submits a job."""
        values: dict[str, Any] = {
            "instance": instance,
            "model": MODEL,
            "framework": FRAMEWORK,
            "engine_file": str(self.folder / "engines" / "lifecycle.yaml"),
            "model_file": str(self.folder / "models" / "model.yaml"),
            "gpus": 2,
            "walltime_s": 600.0,
            "submitted_at": time.time(),
            "generation": 1,
            "fence": 1,
        }
        order = Order(**(values | changes))
        order.write(self.site)
        return order

    def vouch(self, job_id: str, instance: str = INSTANCE, *, count: int = 2) -> tuple[str, ...]:
        """Leave credentials, as the agent does when it knows the job's id; return all there are."""
        claims = Claims(
            cluster="alpha", instance=instance, job=job_id, framework=FRAMEWORK, model=MODEL
        )
        file = CredentialFile.of(self.site, instance)
        fresh = signed(key_file(self.site), claims, valid_s=3600.0, count=count)
        file.write((*file.read(), *fresh))
        return file.read()

    def tell(self, *, until: float | None = None, instance: str = INSTANCE) -> None:
        """Tell an instance to drain."""
        Control(drain=True, until=until).write(self.site, instance)

    def registered(self, instance: str = INSTANCE) -> Registration:
        """Return what an instance last wrote."""
        return Registration.read(self.site.instances / f"{instance}.json")

    def state(self, instance: str = INSTANCE) -> str:
        """Return an instance's state; nothing before it registered."""
        path = self.site.instances / f"{instance}.json"
        return json.loads(path.read_text())["state"] if path.exists() else ""

    def job_command(self, instance: str = INSTANCE) -> list[str]:
        """Return what a job runs."""
        return [
            *(sys.executable, "-P", "-m", "compute_functions.instance_job"),
            *("--site-dir", str(self.site.root), "--instance", instance),
        ]

    @asynccontextmanager
    async def job(
        self, instance: str = INSTANCE, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Child]:
        """Run a job as a process, in the environment of a scheduler."""
        command = Command(
            name="the job",
            arguments=self.job_command(instance),
            log=self.site.logs / f"{instance}.job.log",
            environment=clean_environment() | dict(environment or {}),
        )
        async with running(command) as child:
            yield child

    async def ready(self, child: Child, instance: str = INSTANCE) -> Registration:
        """Wait until an instance is ready."""
        await child.until(lambda: self.state(instance) == "ready", within_s=_WITHIN_S)
        return self.registered(instance)

    def nothing_is_left(self, instance: str = INSTANCE) -> None:
        """Check that an instance that has ended left nothing of its own but its registration."""
        assert not Path(self.registered(instance).endpoint).exists()
        assert not list(self.site.keys.iterdir())
        assert list(self.folder.glob("hotnode-*/*")) == []


def _write(file: Path, values: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(values))


def engine_of(registration: Registration) -> Engine:
    """Return a client of an instance's engine, with its key."""
    key = Path(registration.api_key_file).read_text().strip()
    return Engine(endpoint=registration.endpoint, api_key=key)
