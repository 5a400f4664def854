"""Which model instances run at this site, as their launchers wrote it down.

Each launcher keeps one JSON file, the registration, in the site's directory and renews its
heartbeat. A reader trusts no registration that is older than `STALE_AFTER_S` or whose launcher it
can see to be dead: such an instance is reported as failed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
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
    """What a launcher says about its instance.

    `endpoint` is the path of a Unix socket or an address as `http://127.0.0.1:8000`; `pid` and
    `pid_start` name the launcher's process on `host`; `paths` are the only ones that requests may
    use, each with the engine's own; times are seconds since the epoch. `detail` is for everybody
    who may see the model; `log_file`, the engine's output, for the operators alone.
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

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one file; a file that is none of ours raises `ConfigurationError`."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            state = InstanceState(values.pop("state"))
            return cls(state=state, paths=_paths(values.pop("paths")), **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"{path} is not a registration: {error}") from error

    def write(self, site: SiteDirectory) -> None:
        """Replace the registration's file."""
        private_file.write(site.instances / f"{self.name}.json", json.dumps(asdict(self)))

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
            host=self.host,
            started_at=self.started_at,
            detail=self.detail,
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
