"""Which model instances run at this site, as they wrote it down themselves.

Each instance, that is its launcher or its job, keeps one JSON file in the site's directory, the
registration, and renews its heartbeat. A file is replaced in one step: whoever reads it finds a
whole one, the last or the one before it. A reader trusts no registration that is older than
`STALE_AFTER_S` or whose process it can see to be dead: such an instance is reported as failed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from compute_functions import private_file, processes
from compute_functions.contract import (
    ContractError,
    FailureCode,
    Instance,
    InstanceState,
    JsonObject,
    SiteFailure,
    SiteStatus,
    UnsupportedProtocol,
    versioned,
)
from compute_functions.contract.instances import Stage
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory

log = logging.getLogger(__name__)

#: More than a busy shared disk or a skewed clock explains (seconds).
STALE_AFTER_S = 45.0
#: A heartbeat may be missed twice (seconds).
MAX_HEARTBEAT_S = STALE_AFTER_S / 3

#: States in which somebody must be alive to keep the registration true.
_ATTENDED = frozenset({InstanceState.STARTING, InstanceState.READY, InstanceState.DRAINING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What an instance says about itself.

    `endpoint` is the path of a Unix socket or an address as `http://127.0.0.1:8000`; `pid` and
    `pid_start` name the instance's process on `host`, which its scheduler calls `node`; `paths` are
    the only ones that requests may use, each with the engine's own; times are seconds since the
    epoch by the host's clock. `detail` is for everybody who may see the model; `log_file`, the
    engine's output, for the operators alone.

    The file is written at every change, and every `heartbeat_s` seconds until the end. `healthy_at`
    is when the engine last answered its health probe; `running` and `waiting` are its requests as
    it tells them itself, `in_flight` all that the instance knows to be under way, by its relay or
    otherwise; `credentials_left` is how many of the credentials that it was handed are unused;
    `gpu_percent` is how busy its GPUs are. Each is None where nobody knows or asked.

    `door` is the address at which other hosts of the site reach the instance, `door_fingerprint`
    that of the certificate which it shows there; both are empty if it has none. One with a
    `purpose` is for that alone.
    """

    name: str
    model: str
    framework: str
    state: InstanceState
    endpoint: str
    api_key_file: str
    pid: int
    pid_start: int
    job_id: str
    host: str
    started_at: float
    heartbeat: float
    paths: Mapping[str, str]
    detail: str = ""
    log_file: str = ""
    node: str = ""
    stage: Stage | None = None
    gpus: int = 0
    walltime_s: float | None = None
    submitted_at: float | None = None
    ready_at: float | None = None
    ends_at: float | None = None
    heartbeat_s: float = MAX_HEARTBEAT_S
    healthy_at: float | None = None
    running: float | None = None
    waiting: float | None = None
    in_flight: int | None = None
    credentials_left: int | None = None
    gpu_percent: float | None = None
    door: str = ""
    door_fingerprint: str = ""
    purpose: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one file; a file that is none of ours raises `ConfigurationError`.

        Fields of later versions are passed over: a site is not updated all at once.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            state = InstanceState(values.pop("state"))
            stage = values.pop("stage", None)
            paths = _paths(values.pop("paths"))
            known = {field.name for field in fields(cls)} & values.keys()
            return cls(
                state=state,
                stage=None if stage is None else Stage(stage),
                paths=paths,
                **{name: values[name] for name in known},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"{path} is not a registration: {error}") from error

    def write(self, site: SiteDirectory) -> None:
        """Replace the registration's file."""
        private_file.write(site.registration(self.name), json.dumps(asdict(self)))

    @property
    def attended(self) -> bool:
        """Whether a launcher must be at work on the instance."""
        return self.state in _ATTENDED

    def observed(self, now: float) -> Self:
        """Return the registration as an onlooker must see it: failed if nobody attends to it."""
        neglect = self._neglect(now) if self.attended else ""
        if not neglect:
            return self
        return replace(self, state=InstanceState.FAILED, detail=neglect)

    def _neglect(self, now: float) -> str:
        if self.host == socket.gethostname() and not processes.lives(self.pid, self.pid_start):
            return "its launcher is gone"
        age = now - self.heartbeat
        return f"no heartbeat for {age:.0f} s" if age > STALE_AFTER_S else ""

    def to_instance(self) -> Instance:
        """Return the part that the gateway may know."""
        return Instance(
            model=self.model,
            framework=self.framework,
            state=self.state,
            job_id=self.job_id,
            host=self.node or self.host,
            started_at=self.started_at,
            detail=self.detail,
            name=self.name,
            stage=self.stage,
            gpus=self.gpus,
            walltime_s=self.walltime_s,
            submitted_at=self.submitted_at,
            ready_at=self.ready_at,
            ends_at=self.ends_at,
            running=self.running,
            waiting=self.waiting,
            # Of one that has ended it is what was seen last.
            gpu_percent=self.gpu_percent if self.attended else None,
            purpose=self.purpose,
        )


def _paths(read: dict[str, str] | list[str]) -> dict[str, str]:
    """Return the paths; launchers before the mapping wrote a list, and may still run."""
    return dict(read) if isinstance(read, dict) else {path: path for path in read}


def observed(site: SiteDirectory, now: float) -> Iterator[Registration]:
    """Yield every registration at the site, as seen at `now`; foreign files are logged."""
    for path in sorted(site.instances.glob("*.json")):
        try:
            yield Registration.read(path).observed(now)
        except FileNotFoundError:
            continue  # An operator removed it between the listing and the reading.
        except (ConfigurationError, OSError) as error:
            log.warning("registration_unreadable path=%s error=%s", path, error)


def site_status(wire: object) -> JsonObject:
    """Return what runs at this site: the body of the registered function of the same name."""
    now = time.time()
    try:
        versioned(wire)
        site = SiteDirectory.from_environment(os.environ)
    except UnsupportedProtocol as error:
        return _failure(FailureCode.UNSUPPORTED_PROTOCOL, error)
    except ContractError as error:
        return _failure(FailureCode.INVALID_REQUEST, error)
    except ConfigurationError as error:
        return _failure(FailureCode.SITE_MISCONFIGURED, error)
    instances = tuple(found.to_instance() for found in observed(site, now))
    return SiteStatus(observed_at=now, instances=instances).to_wire()


def _failure(code: FailureCode, error: Exception) -> JsonObject:
    return SiteFailure(code=code, message=str(error)).to_wire()
