"""Everything that one run of an engine is told, whoever starts it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from compute_functions import engine_config, errors, processes
from compute_functions.contract import InstanceState
from compute_functions.engine_config import EngineConfig
from compute_functions.instances import Registration
from compute_functions.model_config import ModelConfig
from compute_functions.registrar import HEARTBEAT_S
from compute_functions.site import SiteDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One run: which engine, which model, where, under which name and in which job.

    `gpus`, `walltime_s` and `submitted_at` are known of a job that was ordered. `local_weights` is
    a folder of the node's own disk to which the weights are copied, if their model's file wants
    that; `keep_weights` leaves the copy there. `extra_arguments` are the site's own for this model.
    At `task_host`, an address of this node, functions on other hosts of the site come in. A run
    with a `purpose` is for that alone: callers reach it by no way.
    """

    site: SiteDirectory
    engine: EngineConfig
    model: ModelConfig
    name: str
    job_id: str
    engines_dir: Path | None
    runtime_root: Path
    node: str = ""
    gpus: int = 0
    walltime_s: float | None = None
    submitted_at: float | None = None
    heartbeat_s: float = HEARTBEAT_S
    local_weights: Path | None = None
    keep_weights: bool = False
    extra_arguments: tuple[str, ...] = ()
    task_host: str = ""
    purpose: str = ""

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
            node=self.node,
            gpus=self.gpus,
            walltime_s=self.walltime_s,
            submitted_at=self.submitted_at,
            purpose=self.purpose,
        )
